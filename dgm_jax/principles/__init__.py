"""Principles: HOW models are trained; each file has make(model, tx, **options) -> System."""
