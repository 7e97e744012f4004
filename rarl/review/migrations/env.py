"""What Alembic runs: the changes that are missing, on the connection the store hands over."""

from __future__ import annotations

from alembic import context

from rarl.review._tables import Base

# One transaction, so that a store is never found half changed; SQLite can do that as well, since
# the store begins its transactions itself.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
