"""Training principles: how models are trained.  Each has make(model, tx, **options) -> System."""
