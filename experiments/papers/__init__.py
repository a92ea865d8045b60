"""Papers, one folder each: their published numbers, the runs that reproduce them, and what is reported."""
