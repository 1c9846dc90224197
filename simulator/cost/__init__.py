"""What a run costs: how often each part of the machine acts, and the energy of it."""
