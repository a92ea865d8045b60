"""radford2016: paper.py has the published numbers and what is run."""
