"""What every paper's reproduction runs on: budgets, stages, reports and the page."""
