"""The HTTP layer: health, headers, limits, logs and shutdown."""
