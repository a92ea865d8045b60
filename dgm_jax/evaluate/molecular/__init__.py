"""Molecules: their properties by RDKit, and the measures of sets of them that MOSES defines."""
