"""One SimPy process per engine, named as in rtl/; what they share is in `simulator.engines.frame`."""
