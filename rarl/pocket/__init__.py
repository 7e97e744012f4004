"""How the embedded pocket model is trained, stage by stage (see `scripts/build_pocket`)."""
