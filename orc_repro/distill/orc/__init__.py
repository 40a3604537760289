"""ORC itself."""
