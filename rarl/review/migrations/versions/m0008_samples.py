"""Texts sampled from variants, which a study can show as wrong advice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add what is new."""
    op.create_table(
        "samples",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(32), nullable=False, unique=True, index=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("arm", sa.String(80), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"]),
        sqlite_autoincrement=True,
    )
    # As `0002` does for the other rows that people add.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER samples_no_update BEFORE UPDATE ON samples "
            "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        op.execute(
            "CREATE TRIGGER samples_no_delete BEFORE DELETE ON samples WHEN NOT EXISTS "
            "(SELECT 1 FROM tombstones WHERE case_id = OLD.case_id) "
            "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        return
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER samples_no_{action.lower()} BEFORE {action} ON samples "
            "FOR EACH ROW EXECUTE FUNCTION rarl_append_only('of-a-case', 'case_id')"
        )
    op.execute(
        "CREATE TRIGGER samples_no_truncate BEFORE TRUNCATE ON samples "
        "FOR EACH STATEMENT EXECUTE FUNCTION rarl_append_only('for-ever', 'case_id')"
    )
