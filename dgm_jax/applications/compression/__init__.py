"""Lossless compression by the conditionals of an autoregressive model: see README.md."""
