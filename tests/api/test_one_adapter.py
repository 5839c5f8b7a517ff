"""One adapter is read without the others: it costs the same however many there are."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import Scope
from monitor.store.database import Database
from monitor.traffic import table
from tests.fleet import NOW, register
from tests.serving import Serving


@pytest.mark.parametrize("path", ["/v1/adapters/support", "/adapters/support", "/routes/support"])
def test_one_adapter_costs_the_same_among_3_and_among_300(service: Serving, path: str) -> None:
    add(service.database, "support", "billing", "travel")
    with service.client(Scope.READ) as client:
        client.post("/login", data={"key": client.headers["authorization"].split()[1]})

        def ask() -> None:
            assert client.get(path).status_code == 200

        ask()  # what is kept once for all answers
        few = asked_of(service.database, ask)
        add(service.database, *(f"adapter-{number}" for number in range(297)))
        assert asked_of(service.database, ask) == few


def add(database: Database, *names: str) -> None:
    def work(tx: Connection) -> None:
        for name in names:
            table.start(tx, register(tx, name), actor="test", now=NOW)

    database.run(work)


def asked_of(database: Database, act: Callable[[], None]) -> tuple[int, int]:
    """Count the statements of an act, and the rows that they gave."""
    rows: list[int] = []

    def count(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "keys" not in statement:  # a key is looked up again after a while
            rows.append(max(cursor.rowcount, 0))

    sa.event.listen(database.engine, "after_cursor_execute", count)
    try:
        act()
    finally:
        sa.event.remove(database.engine, "after_cursor_execute", count)
    return len(rows), sum(rows)
