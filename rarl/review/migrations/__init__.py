"""Schema changes of the review store, applied when it is opened (Alembic)."""
