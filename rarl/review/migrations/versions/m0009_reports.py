"""Reports, a row for each version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what is new."""
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(32), nullable=False, unique=True, index=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("report_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("reader", sa.String(200)),
        sa.Column("signed", sa.Boolean, nullable=False),
        sa.Column("amends", sa.String(32)),
        sa.UniqueConstraint("report_id", "version", name="uq_reports_version"),
        sqlite_autoincrement=True,
    )
    # As `0002` does for the other rows that people add.
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER reports_no_update BEFORE UPDATE ON reports "
            "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        op.execute(
            "CREATE TRIGGER reports_no_delete BEFORE DELETE ON reports WHEN NOT EXISTS "
            "(SELECT 1 FROM tombstones WHERE case_id = OLD.case_id) "
            "BEGIN SELECT RAISE(ABORT, 'append only'); END"
        )
        return
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER reports_no_{action.lower()} BEFORE {action} ON reports "
            "FOR EACH ROW EXECUTE FUNCTION rarl_append_only('of-a-case', 'case_id')"
        )
    op.execute(
        "CREATE TRIGGER reports_no_truncate BEFORE TRUNCATE ON reports "
        "FOR EACH STATEMENT EXECUTE FUNCTION rarl_append_only('for-ever', 'case_id')"
    )
