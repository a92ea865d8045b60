"""Topic models and non-negative matrix factorisation."""
