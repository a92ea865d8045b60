"""Models of sequences: hidden Markov models."""
