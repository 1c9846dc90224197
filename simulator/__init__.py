"""The machine: one description, and the interpreters that run a program on it."""
