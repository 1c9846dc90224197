"""Design points by the million: the compiler's choices and the machine's closed form, vectorised over points."""
