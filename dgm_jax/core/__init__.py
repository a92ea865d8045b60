"""The contracts and services that every other package builds on; imports nothing else of dgm_jax."""
