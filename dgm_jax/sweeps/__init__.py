"""Sweeps: many runs, trained as lanes of few compiled programs, on one machine or many."""
