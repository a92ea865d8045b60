"""Neural networks as Flax modules, independent of distributions and models."""
