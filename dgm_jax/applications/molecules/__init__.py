"""Molecules and expressions by a trained VAE: draws, reconstructions, interpolations, codes, scores, and a search."""
