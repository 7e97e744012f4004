"""What was measured of answers, and audits that are worked by expected value."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add what is new."""
    op.add_column("studies", sa.Column("by_worth", sa.Boolean))
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("arm", sa.String(80), nullable=False),
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"]),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_measurements_key", "measurements", ["key"], unique=True)
    op.create_index("ix_measurements_case_id", "measurements", ["case_id"])
    sqlite = op.get_bind().dialect.name == "sqlite"
    for action in ("UPDATE", "DELETE"):
        head = f"CREATE TRIGGER measurements_no_{action.lower()} BEFORE {action} ON measurements "
        unless = "WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE case_id = OLD.case_id) "
        if sqlite:
            guard = unless if action == "DELETE" else ""
            op.execute(f"{head}{guard}BEGIN SELECT RAISE(ABORT, 'append only'); END")
        else:
            op.execute(
                f"{head}FOR EACH ROW EXECUTE FUNCTION rarl_append_only('of-a-case', 'case_id')"
            )
    if not sqlite:
        op.execute(
            "CREATE TRIGGER measurements_no_truncate BEFORE TRUNCATE ON measurements "
            "FOR EACH STATEMENT EXECUTE FUNCTION rarl_append_only('for-ever', 'case_id')"
        )
