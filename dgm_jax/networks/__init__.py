"""Neural networks as Flax modules; they know no distribution and no model."""
