"""Flags that are set aside without a verdict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what is new."""
    op.create_table(
        "dismissals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(32), nullable=False, unique=True, index=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column(
            "flag_key", sa.String(32), sa.ForeignKey("flags.key"), nullable=False, index=True
        ),
        sa.Column("given", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("reader", sa.String(200)),
        sa.Column("replaces", sa.String(32), unique=True, index=True),
        sqlite_autoincrement=True,
    )
    # As `0002` does for the other rows that people add.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER dismissals_no_update BEFORE UPDATE ON dismissals "
            "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        op.execute(
            "CREATE TRIGGER dismissals_no_delete BEFORE DELETE ON dismissals WHEN NOT EXISTS "
            "(SELECT 1 FROM tombstones WHERE case_id = OLD.case_id) "
            "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        return
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER dismissals_no_{action.lower()} BEFORE {action} ON dismissals "
            "FOR EACH ROW EXECUTE FUNCTION rarl_append_only('of-a-case', 'case_id')"
        )
    op.execute(
        "CREATE TRIGGER dismissals_no_truncate BEFORE TRUNCATE ON dismissals "
        "FOR EACH STATEMENT EXECUTE FUNCTION rarl_append_only('for-ever', 'case_id')"
    )
