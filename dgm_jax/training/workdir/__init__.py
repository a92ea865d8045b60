"""The folder of a run: config, checkpoints, metrics, record and lock."""
