"""Load models: name to base, adapters and processor (`loading`); the pocket model (`pocket`)."""
