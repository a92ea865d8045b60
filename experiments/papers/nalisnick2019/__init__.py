"""Nalisnick et al. (ICLR 2019)."""
