"""Papers, one file each: their published numbers, the runs that reproduce them, and what is reported."""
