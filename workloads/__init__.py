"""What to compute: a training step as a DAG of GEMMs, vector operations, pruning and optimizer updates."""
