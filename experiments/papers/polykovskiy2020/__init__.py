"""polykovskiy2020: paper.py has the published numbers and what is run, and makes the table."""
