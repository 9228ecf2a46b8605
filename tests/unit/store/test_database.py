import os
import sqlite3
import threading
from pathlib import Path

import pytest

from contextkernel.errors import StoreProblem, StoreTooNew
from contextkernel.store import Store, default_root
from contextkernel.store.database import Database
from contextkernel.store.schema import VERSION


def test_a_new_store_uses_wal_and_is_private(store, root):
    assert store._database.journal_mode == "wal"
    assert os.stat(root).st_mode & 0o777 == 0o700


def test_a_store_of_a_newer_version_is_refused_and_unharmed(root):
    Store.open(root).close()
    with sqlite3.connect(f"{root}/meta.db") as sql:
        sql.execute("UPDATE schema SET version = 99")
    sql.close()
    before = Path(root, "meta.db").read_bytes()
    with pytest.raises(StoreTooNew, match=rf"version 99.*up to {VERSION}") as caught:
        Store.open(root)
    assert "update" in caught.value.hint
    assert Path(root, "meta.db").read_bytes() == before


def test_a_file_that_is_no_database_is_named(root):
    Store.open(root).close()
    with open(f"{root}/meta.db", "wb") as sink:
        sink.write(b"this is not SQLite" * 1000)
    with pytest.raises(StoreProblem, match=r"meta\.db is damaged"):
        Store.open(root)


def test_a_root_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreProblem, match="not a directory"):
        Store.open(tmp_path / "file" / "store")


def test_a_transaction_that_fails_leaves_nothing(store):
    with pytest.raises(RuntimeError), store._database.transaction() as sql:  # noqa: PT012
        sql.execute("INSERT INTO trash (path) VALUES ('layers/x')")
        raise RuntimeError
    assert store._database.all("SELECT * FROM trash") == []


def test_transactions_nest_into_one(store):
    with pytest.raises(RuntimeError), store._database.transaction():  # noqa: PT012
        with store._database.transaction() as inner:
            inner.execute("INSERT INTO trash (path) VALUES ('layers/x')")
        raise RuntimeError
    assert store._database.all("SELECT * FROM trash") == []


def test_without_shared_memory_the_journal_is_truncated(root, monkeypatch):
    monkeypatch.setattr("contextkernel.store.database._shared_memory_works", lambda _: False)
    with Store.open(root) as store:
        assert store._database.journal_mode == "truncate"
    monkeypatch.undo()
    with Store.open(root) as again:
        assert again._database.journal_mode == "truncate"
        with again._database.transaction() as sql:
            sql.execute("INSERT INTO trash (path) VALUES ('layers/x')")
        assert again.trash() == (f"{root}/layers/x",)


def test_a_full_disk_while_writing_a_row_is_store_full(store):
    from contextkernel.errors import StoreFull

    pages = store._database.one("PRAGMA page_count")[0]
    store._database.one(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull), store._database.transaction() as sql:  # noqa: PT012
        for number in range(1000):
            sql.execute("INSERT INTO trash (path) VALUES (?)", (f"{number}" * 500,))
    assert store._database.all("SELECT * FROM trash") == []


def test_threads_share_one_store(store):
    def add(number):
        for step in range(20):
            with store._database.transaction() as sql:
                sql.execute("INSERT INTO trash (path) VALUES (?)", (f"layers/{number}-{step}",))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.trash()) == 80


def test_a_forked_child_may_use_the_store_and_the_parent_goes_on(store):
    store._database.all("SELECT * FROM trash")
    assert store._database._connection is not None
    child = os.fork()
    if not child:
        try:
            with store._database.transaction() as sql:
                sql.execute("INSERT INTO trash (path) VALUES ('layers/child')")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert store._database.all("SELECT path FROM trash") == [("layers/child",)]


def test_the_root_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("CONTEXTKERNEL_ROOT", "/some/where")
    assert default_root() == "/some/where"
    monkeypatch.delenv("CONTEXTKERNEL_ROOT")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == "/var/lib/contextkernel"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/ann/.data")
    assert default_root() == "/home/ann/.data/contextkernel"


def test_preparing_twice_changes_nothing(root):
    Store.open(root).close()
    database = Database(f"{root}/meta.db", root)
    database.prepare()
    database.prepare()
    assert database.all("SELECT version FROM schema") == [(VERSION,)]
    database.close()
