"""Does the RTL train a network, and to what accuracy? See README.md in this folder."""
