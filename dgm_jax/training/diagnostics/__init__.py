"""Where the time goes, and where NaN comes from."""
