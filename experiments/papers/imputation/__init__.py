"""imputation: paper.py has what is run; there is no paper."""
