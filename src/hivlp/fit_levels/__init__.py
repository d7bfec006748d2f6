"""`hivlp fit-levels`: learns levels for a frozen encoder from its stored vectors. Needs torch."""
