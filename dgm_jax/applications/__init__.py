"""Applications built on the other packages, each with a command, a Python class and a documentation page."""
