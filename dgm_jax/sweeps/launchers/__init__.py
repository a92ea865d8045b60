"""Where the tasks of a sweep run: processes on this machine, Ray or SLURM."""
