"""What runs have left behind: results read back, and the history of many runs."""
