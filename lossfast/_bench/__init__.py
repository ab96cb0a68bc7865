"""``python -m lossfast bench``: every loss beside its peers and the limits of the machine, each in its own process."""
