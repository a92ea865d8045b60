"""Mixtures by EM, k-means among them."""
