"""Several pictures a case, votes, verdicts, studies, an audit, and deletion with a tombstone."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0002"
down_revision = "0001"

# Rows of these go when their case is deleted for good, and not before its tombstone stands.
_OF_A_CASE = (
    "answers",
    "assignments",
    "cases",
    "flags",
    "pictures",
    "responses",
    "tasks",
    "verdicts",
    "votes",
)
_FOR_EVER = ("audit", "studies", "tombstones")


def upgrade() -> None:
    """Add what is new, and move what is there to its place."""
    if op.get_bind().dialect.name == "sqlite":
        for table in ("cases", "answers", "flags"):
            for action in ("update", "delete"):
                op.execute(f"DROP TRIGGER IF EXISTS {table}_no_{action}")
    _pictures()
    _flags()
    _new_tables()
    _append_only()


def _pictures() -> None:
    op.create_table(
        "pictures",
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("png", sa.LargeBinary),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("shown", sa.JSON, nullable=False),
    )
    op.execute(
        "INSERT INTO pictures (case_id, position, name, png, sha256, width, height, shown) "
        "SELECT id, 0, '', png, sha256, width, height, '{}' FROM cases"
    )
    for name in ("png", "sha256", "width", "height"):
        op.drop_column("cases", name)
    for name in ("blind", "sampled"):
        op.add_column(
            "cases", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())
        )


def _flags() -> None:
    op.add_column("flags", sa.Column("key", sa.String(32), nullable=False, server_default=""))
    for name in ("sentence", "corrected_answer", "corrected_explanation"):
        op.add_column("flags", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.add_column("flags", sa.Column("sentence_start", sa.Integer))
    op.add_column("flags", sa.Column("region", sa.JSON))
    op.add_column("flags", sa.Column("replaces", sa.String(32)))
    flags = sa.table("flags", sa.column("id", sa.Integer), sa.column("key", sa.String))
    connection = op.get_bind()
    for number in connection.scalars(sa.select(flags.c.id)).all():
        connection.execute(sa.update(flags).where(flags.c.id == number).values(key=uuid4().hex))
    op.create_index("ix_flags_key", "flags", ["key"], unique=True)
    op.create_index("ix_flags_replaces", "flags", ["replaces"], unique=True)


def _said(*columns: SchemaItem) -> tuple[SchemaItem, ...]:
    """The columns of everything that a person says about a case."""
    return (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(32), nullable=False, unique=True, index=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        *columns,
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("replaces", sa.String(32), unique=True, index=True),
    )


def _new_tables() -> None:
    make = op.create_table
    make(
        "votes",
        *_said(
            sa.Column("outcome", sa.String(20), nullable=False),
            sa.Column("preferred", sa.String(80)),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("own_answer", sa.Text, nullable=False),
            sa.Column("reader", sa.String(200)),
        ),
        sqlite_autoincrement=True,
    )
    make(
        "verdicts",
        *_said(
            sa.Column("arm", sa.String(80), nullable=False),
            sa.Column("study_id", sa.String(32), index=True),
            sa.Column("role", sa.String(20), nullable=False),
            sa.Column("correctness", sa.Integer, nullable=False),
            sa.Column("explanation", sa.Integer, nullable=False),
            sa.Column("agrees", sa.Boolean),
            sa.Column("corrected_answer", sa.Text, nullable=False),
            sa.Column("corrected_explanation", sa.Text, nullable=False),
            sa.Column("comment", sa.Text, nullable=False),
            sa.Column("seconds", sa.Double),
            sa.Column("reader", sa.String(200), nullable=False, index=True),
            sa.ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"]),
        ),
        sqlite_autoincrement=True,
    )
    make(
        "assignments",
        *_said(
            sa.Column("arm", sa.String(80), nullable=False),
            sa.Column("study_id", sa.String(32), index=True),
            sa.Column("reader", sa.String(200), nullable=False, index=True),
            sa.Column("given", sa.Boolean, nullable=False),
            sa.Column("assigned_by", sa.String(200)),
            sa.ForeignKeyConstraint(["case_id", "arm"], ["answers.case_id", "answers.arm"]),
        ),
        sqlite_autoincrement=True,
    )
    make(
        "studies",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("instructions", sa.Text, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("conditions", sa.JSON, nullable=False),
        sa.Column("readers", sa.JSON, nullable=False),
        sa.Column("population", sa.Integer, nullable=False),
        sa.Column("deadline", sa.DateTime),
        sa.Column("drawn_by", sa.String(200)),
    )
    make(
        "tasks",
        sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id"), primary_key=True),
        sa.Column("reader", sa.String(200), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("arm", sa.String(80), nullable=False),
        sa.Column("condition", sa.String(40), nullable=False),
    )
    make(
        "responses",
        *_said(
            sa.Column("study_id", sa.String(32), sa.ForeignKey("studies.id"), nullable=False),
            sa.Column("reader", sa.String(200), nullable=False),
            sa.Column("answer", sa.Text, nullable=False),
            sa.Column("confidence", sa.Integer),
            sa.Column("comment", sa.Text, nullable=False),
            sa.Column("seconds", sa.Double),
        ),
        sqlite_autoincrement=True,
    )
    make(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("person", sa.String(200), nullable=False, index=True),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("case_id", sa.String(32), index=True),
        sqlite_autoincrement=True,
    )
    make(
        "tombstones",
        sa.Column("case_id", sa.String(32), primary_key=True),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("person", sa.String(200)),
        sa.Column("reason", sa.Text, nullable=False),
    )


def _append_only() -> None:
    """The database itself refuses changes, so that no later program can rewrite a review."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(
            "CREATE FUNCTION rarl_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF TG_OP = 'DELETE' AND TG_ARGV[0] = 'of-a-case' THEN "
            "IF EXISTS (SELECT 1 FROM tombstones WHERE case_id = "
            "to_jsonb(OLD) ->> TG_ARGV[1]) THEN RETURN OLD; END IF; END IF; "
            "RAISE EXCEPTION 'append only' USING ERRCODE = 'restrict_violation'; END $$"
        )
    for table in (*_OF_A_CASE, *_FOR_EVER):
        owner = "id" if table == "cases" else "case_id"
        kind = "of-a-case" if table in _OF_A_CASE else "for-ever"
        for action in ("UPDATE", "DELETE"):
            head = f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
            if sqlite:
                unless = (
                    f"WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE case_id = OLD.{owner}) "
                    if action == "DELETE" and kind == "of-a-case"
                    else ""
                )
                op.execute(f"{head}{unless}BEGIN SELECT RAISE(ABORT, 'append only'); END")
            else:
                op.execute(
                    f"{head}FOR EACH ROW EXECUTE FUNCTION rarl_append_only('{kind}', '{owner}')"
                )
        if not sqlite:
            op.execute(
                f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION rarl_append_only('for-ever', '{owner}')"
            )
