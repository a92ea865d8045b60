"""Single cells: scVI from a file of counts to corrected cells."""
