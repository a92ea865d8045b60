"""Which runs of a sweep share one compiled program, and how many fit in memory."""
