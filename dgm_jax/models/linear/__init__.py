"""Linear latent variable models: factor analysis and probabilistic PCA."""
