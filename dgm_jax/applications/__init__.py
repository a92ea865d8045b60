"""Applications: for each a command, a Python class and a page, on the models and evaluations of the other packages."""
