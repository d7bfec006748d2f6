"""The tables of the paper, measured anew on this machine."""
