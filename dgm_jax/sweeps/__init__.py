"""Sweeps: many runs, as lanes of few compiled programs, in processes of one machine or of many."""
