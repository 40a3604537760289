"""What happened in a run: first in the run's own files, then copied to MLflow."""
