"""How many evaluations a search needs for the true front of an enumerated space, beside random search."""
