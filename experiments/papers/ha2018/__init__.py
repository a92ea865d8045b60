"""ha2018: paper.py has the published numbers and what is run, curves.py the authors' fitness by generation."""
