"""he2019: paper.py has the published numbers and what is run; trajectories.py the posterior means during training."""
