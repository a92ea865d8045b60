"""kusner2017: paper.py has the published numbers and what is run; searches.py measures runs; tables.py makes tables."""
