"""What the service costs: `make bench`. Every table has a named baseline that was measured in the same run."""
