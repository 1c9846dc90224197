"""Files that hold workloads."""
