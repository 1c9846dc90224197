"""From Verilog to bitstreams: synthesis, place and route, packing, and what the tools counted."""
