"""Conditional models p(y | x): regression and classification."""
