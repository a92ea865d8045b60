"""Sweeps: many runs of one config, as few compiled programs."""
