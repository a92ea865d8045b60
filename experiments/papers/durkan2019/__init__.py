"""durkan2019: paper.py has the published numbers and what is run."""
