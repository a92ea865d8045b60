"""Sentences by a trained VAE: draws, reconstructions, interpolations, codes, scores and completions."""
