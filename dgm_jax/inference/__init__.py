"""Inference as pure functions of log-weights and log-densities: bounds, gradients, HMC, annealing, imputation."""
