"""Target networks as models that MLflow loads anywhere."""
