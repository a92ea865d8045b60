"""Machinery of all reproductions: budgets, stages, reports and the HTML page."""
