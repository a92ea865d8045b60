"""Helpers of several tests: tables of systems and configs, synthetic data and runs, closed forms."""
