"""The explorer: design points, sweeps, the store, and the command line."""
