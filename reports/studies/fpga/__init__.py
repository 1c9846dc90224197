"""Arrays on an ECP5: what sparsity costs, how much fits, and how fast it is."""
