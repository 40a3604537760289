"""Published tables as data; ``docs/published.md``."""
