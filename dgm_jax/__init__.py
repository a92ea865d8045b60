"""dgm_jax: deep generative models in JAX, log p(x) first."""
