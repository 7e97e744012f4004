"""What PostgreSQL's failures say; SQLite's are in test_store."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from rarl.errors import StoreError
from rarl.review import CaseSnapshot, ReviewStore
from tests.review.conftest import Server

MakeCase = Callable[..., CaseSnapshot]


def test_locked_full_and_read_only(server: Server, make_case: MakeCase) -> None:
    address = server.new_database()
    store = ReviewStore(address, busy_seconds=0.2)
    case_id = store.add_case(make_case())

    def flag() -> int:
        return store.add_flag(case_id, "sft", "style", "none").id

    with psycopg.connect(address) as other:
        other.execute("LOCK TABLE flags IN EXCLUSIVE MODE")
        with pytest.raises(StoreError, match=r"busy; nothing typed was lost.*try again"):
            flag()
        assert store.count() == 0  # readers do not wait
    first = flag()

    with psycopg.connect(address, autocommit=True) as other:
        # The server itself answers with the code it has for a full disk.
        other.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = 'disk_full'; END $$"
        )
        other.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON flags EXECUTE FUNCTION full_disk()"
        )
        with pytest.raises(StoreError, match=r"is full; nothing typed was lost") as caught:
            flag()
        assert "secret" not in str(caught.value)
        other.execute("DROP TRIGGER full_disk ON flags")
        other.execute(
            f"ALTER DATABASE {other.info.dbname} SET default_transaction_read_only = on".encode()
        )
        store.close()
        with pytest.raises(StoreError, match=r"read-only.*nothing typed was lost"):
            flag()
        assert [flag.id for flag in store.flags()] == [first]
    store.close()


def test_a_vanished_server_is_told_and_comes_back(server: Server, make_case: MakeCase) -> None:
    store = ReviewStore(server.new_database())
    case_id = store.add_case(make_case())
    server.stop()
    try:
        with pytest.raises(StoreError, match=r"cannot be used; nothing typed was lost"):
            store.add_flag(case_id, "sft", "style", "none", key="a" * 32)
    finally:
        server.start()
    assert store.count() == 0
    assert store.add_flag(case_id, "sft", "style", "none", key="a" * 32).key == "a" * 32
    assert store.count() == 1
    store.close()


def test_no_such_database(server: Server) -> None:
    with pytest.raises(StoreError, match="review database cannot be used") as caught:
        ReviewStore(f"postgresql://rarl:secret@/nonexistent?host={server.folder}")
    assert "secret" not in str(caught.value)
