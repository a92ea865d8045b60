"""Search over hyper-parameters with Optuna."""
