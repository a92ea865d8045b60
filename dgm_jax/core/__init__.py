"""Interfaces and utilities that every other package uses; imports no other package of dgm_jax."""
