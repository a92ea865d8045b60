"""The latent principle: bounds on log p(x) with an approximate posterior q(z|x)."""
