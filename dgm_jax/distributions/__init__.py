"""Densities, priors p(z) and approximate posteriors q(z|x)."""
