"""One file per (model, data): get_config(arg) and, where there are sweeps, sweep()."""
