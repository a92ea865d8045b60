"""Variational autoencoders and their relatives: one density per file."""
