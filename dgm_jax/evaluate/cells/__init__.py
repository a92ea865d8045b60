"""Evaluations of models of single cells."""
