"""Autoregressive models: log p(x) = sum_t log p(x_t | x_<t), exact."""
