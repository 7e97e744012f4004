"""Load models: name to base, adapters and processor (`loading`); the small model (`small`)."""
