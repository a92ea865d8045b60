"""kingma2018: paper.py has what is run."""
