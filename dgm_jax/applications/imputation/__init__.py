"""Imputation of missing table entries by p(x_missing | x_observed) of a latent-variable model."""
