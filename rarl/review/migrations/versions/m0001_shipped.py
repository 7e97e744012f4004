"""The tables as they first shipped, without a version of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables, unless they date from before there were versions."""
    if sa.inspect(op.get_bind()).has_table("cases"):
        return
    op.create_table(
        "cases",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("app_version", sa.String(40), nullable=False),
        sa.Column("png", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("modality", sa.String(16), index=True),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("mode", sa.String(40), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("prompt_hash", sa.String(128), nullable=False),
        sa.Column("decoding", sa.JSON, nullable=False),
        sa.Column("shown_order", sa.JSON, nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("arm", sa.String(80), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("revision", sa.String(80), nullable=False),
        sa.Column("reasoning", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("problems", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("stopped", sa.Boolean, nullable=False),
    )
    op.create_table(
        "flags",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("case_id", sa.String(32), nullable=False, index=True),
        sa.Column("arm", sa.String(80), nullable=False),
        sa.Column("category", sa.String(40), nullable=False, index=True),
        sa.Column("severity", sa.String(40), nullable=False, index=True),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("reader", sa.String(200)),
        sa.ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"]),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "sqlite":
        for table in ("cases", "answers", "flags"):
            for action in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'append only'); END"
                )
