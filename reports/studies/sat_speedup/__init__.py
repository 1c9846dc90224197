"""How much faster than dense does BDWP train on SAT, and what does the answer hang on? See README.md in this folder."""
