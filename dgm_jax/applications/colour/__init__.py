"""Colours for grey photographs by a trained run: see README.md."""
