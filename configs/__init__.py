"""One config per model and data set: get_config(arg) and, for some, sweep(); base.py has what they share."""
