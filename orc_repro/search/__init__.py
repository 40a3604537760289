"""Searching parameters with Optuna, outside the pipeline: what is found is a change to review."""
