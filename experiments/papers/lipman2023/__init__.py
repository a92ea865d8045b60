"""lipman2023: paper.py has what is run and the tables, evaluations.py the samples by evaluations of the network."""
