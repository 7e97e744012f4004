"""The queue's index. `Database` fills it once the schema is the newest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what is new."""
    op.create_table(
        "queue_items",
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("arm", sa.String(80), primary_key=True),
        sa.Column("queue", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("assigned", sa.Integer, nullable=False),
    )
    op.create_index("ix_queue_items_position", "queue_items", ["queue", "position"])
    op.create_index("ix_queue_items_status", "queue_items", ["queue", "status", "position"])
    op.create_index(
        "ix_queue_items_open", "queue_items", ["queue", "is_open", "assigned", "position"]
    )
    op.create_table(
        "queue_people",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("arm", sa.String(80), nullable=False),
        sa.Column("queue", sa.String(32), nullable=False),
        sa.Column("person", sa.String(200), nullable=False),
        sa.Column("part", sa.String(20), nullable=False),
        sa.Column("seconds", sa.Double),
    )
    op.create_index("ix_queue_people_answer", "queue_people", ["case_id", "arm", "queue", "person"])
    op.create_index(
        "ix_queue_people_person", "queue_people", ["queue", "part", "person", "case_id", "arm"]
    )
    op.create_index(
        "ix_queue_people_seconds", "queue_people", ["queue", "part", "person", "seconds"]
    )
