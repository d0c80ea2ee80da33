"""Risk → lane, within the inspection capacity, and risk profiles."""
