"""Where the tasks of a sweep run: processes of this machine, Ray, SLURM."""
