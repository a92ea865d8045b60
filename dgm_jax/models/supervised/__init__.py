"""Conditional models p(y given x): regression and classification."""
