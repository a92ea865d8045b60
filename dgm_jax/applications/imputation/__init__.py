"""Imputation of missing entries: what p(x_missing | x_observed) of a model with latents says."""
