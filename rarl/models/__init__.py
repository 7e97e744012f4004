"""A name to base, adapters and processor (`loading`); the pocket architecture (`pocket`)."""
