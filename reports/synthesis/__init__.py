"""Synthesis runs that the cost model is calibrated on: what was measured, how, and how well the model foretells it."""
