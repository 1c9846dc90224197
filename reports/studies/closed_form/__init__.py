"""How far is the closed form from the event-driven machine, and what does a point cost? See README.md in this folder."""
