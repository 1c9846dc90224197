"""How a workload is placed on a machine: tiles, dataflow per GEMM, and the order of commands."""
