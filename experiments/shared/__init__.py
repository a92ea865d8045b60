"""Experiments and tables that several papers share."""
