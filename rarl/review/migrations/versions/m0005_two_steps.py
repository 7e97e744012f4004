"""Two-step reading, wrong advice on purpose, consent, withdrawal, and the key of pseudonyms."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0005"
down_revision = "0004"

_OF_A_CASE = ("advice", "first_reads")
_FOR_EVER = ("enrolments", "withdrawals")


def upgrade() -> None:
    """Add what is new."""
    for column in (
        sa.Column("wrong_share", sa.Double),
        sa.Column("consent", sa.Text),
        sa.Column("marks_region", sa.Boolean),
    ):
        op.add_column("studies", column)
    op.add_column("responses", sa.Column("region", sa.JSON))
    op.create_table(
        "first_reads",
        *_keyed(
            sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False),
            sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id"), nullable=False),
            sa.Column("reader", sa.String(200), nullable=False),
            sa.Column("answer", sa.Text, nullable=False),
            sa.Column("confidence", sa.Integer),
            sa.Column("region", sa.JSON),
            sa.Column("seconds", sa.Double),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "advice",
        sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id"), primary_key=True),
        sa.Column("reader", sa.String(200), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("reasoning", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    op.create_table(
        "enrolments",
        *_keyed(
            sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id"), nullable=False),
            sa.Column("reader", sa.String(200), nullable=False),
            sa.Column("experience", sa.String(20), nullable=False),
            sa.Column("consent_sha256", sa.String(64)),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "withdrawals",
        *_keyed(
            sa.Column("reader", sa.String(200), nullable=False),
            sa.Column("study_id", sa.String(32)),
        ),
        sqlite_autoincrement=True,
    )
    keys = op.create_table(
        "store_keys",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )
    op.bulk_insert(keys, [{"name": "pseudonyms", "value": secrets.token_hex(32)}])
    for table in ("first_reads", "enrolments", "withdrawals"):
        op.create_index(f"ix_{table}_key", table, ["key"], unique=True)
    for table in ("first_reads", "advice"):
        op.create_index(f"ix_{table}_case_id", table, ["case_id"])
    op.create_index("ix_withdrawals_reader", "withdrawals", ["reader"])
    _append_only()


def _keyed(*columns: SchemaItem) -> tuple[SchemaItem, ...]:
    return (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(32), nullable=False),
        *columns,
        sa.Column("created", sa.DateTime, nullable=False),
    )


def _append_only() -> None:
    """As for the tables of 0002."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in (*_OF_A_CASE, *_FOR_EVER):
        kind = "of-a-case" if table in _OF_A_CASE else "for-ever"
        for action in ("UPDATE", "DELETE"):
            head = f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
            if sqlite:
                unless = (
                    "WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE case_id = OLD.case_id) "
                    if action == "DELETE" and kind == "of-a-case"
                    else ""
                )
                op.execute(f"{head}{unless}BEGIN SELECT RAISE(ABORT, 'append only'); END")
            else:
                op.execute(
                    f"{head}FOR EACH ROW EXECUTE FUNCTION rarl_append_only('{kind}', 'case_id')"
                )
        if not sqlite:
            op.execute(
                f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION rarl_append_only('for-ever', 'case_id')"
            )
