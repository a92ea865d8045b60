"""Mixtures fitted by EM, and k-means."""
