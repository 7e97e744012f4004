"""What must be known of how an answer came about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what is new."""
    op.add_column("answers", sa.Column("note", sa.Text))
