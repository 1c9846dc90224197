"""The machine in Amaranth: components that mirror `simulator`, and their Verilog."""
