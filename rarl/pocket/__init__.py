"""Training of the embedded model, stage by stage (see `scripts/build_pocket`)."""
