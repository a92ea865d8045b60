"""goodfellow2014: paper.py has the published numbers and what is run."""
