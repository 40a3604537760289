"""One loop, what it keeps, and the one way to evaluate a network."""
