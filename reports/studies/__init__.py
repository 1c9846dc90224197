"""Studies: each a claim that one command regenerates."""
