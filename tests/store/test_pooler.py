"""Through a real PgBouncer in transaction mode, and with passwords that a command prints."""

import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import make_url

from monitor.domain import Scope
from monitor.store import passwords, schema
from monitor.store.database import Database
from monitor.store.passwords import KEPT, PasswordCommand
from monitor.store.people import keys
from monitor.store.registry import adapters
from monitor.store.wakeups import OUTBOX, WakeUps, notify
from tests.loopback import unused_port
from tests.pooler import SESSIONS, plain, through_pgbouncer
from tests.service import CALM, Service, Talk, baseline, running, until
from tests.serving import serving


@pytest.fixture
def pooled(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database through PgBouncer."""
    with through_pgbouncer(database_url, tmp_path) as url:
        yield url


@pytest.fixture
def pool(pooled: str, database_url: str) -> Iterator[Database]:
    database = Database(pooled, direct=database_url, longest_pause=timedelta(seconds=77))
    yield database
    database.close()


SETTINGS = sa.text(
    "SELECT current_setting('statement_timeout'), current_setting('TimeZone'),"
    " current_setting('idle_in_transaction_session_timeout'), pg_backend_pid()"
)


def test_each_transaction_has_its_settings_on_whatever_session(pool: Database, pooled: str) -> None:
    def work(_number: int) -> tuple[object, ...]:
        return tuple(pool.run(lambda tx: tx.execute(SETTINGS).one()))

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, range(200)))
    assert {one[:3] for one in found} == {("30s", "UTC", "77s")}
    assert len({one[3] for one in found}) <= SESSIONS
    with psycopg.connect(plain(pooled), prepare_threshold=None) as other:
        (own, *_) = other.execute(str(SETTINGS)).fetchone() or ()
        assert own == "0", "nothing is left on a session that others get"


def test_the_schema_is_made_past_it_and_used_through_it(pool: Database, database_url: str) -> None:
    schema.migrate(pool)
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(
                lambda n: pool.run(
                    lambda tx: keys.create(tx, name=f"key {n}", scopes=[Scope.READ])
                ),
                range(60),
            )
        )
    found = pool.run(keys.fetch_all)
    assert {key.id for key, _ in made} == {key.id for key in found}
    direct = Database(database_url)
    with schema.turn(direct):  # nobody kept the lock of migrations
        assert direct.run(schema.at_head)
    direct.close()


def test_wake_ups_arrive_although_the_pooler_carries_none(pool: Database) -> None:
    schema.migrate(pool)
    heard: list[str] = []
    wakeups = WakeUps(pool)
    wakeups.on(OUTBOX, heard.append)
    wakeups.start()
    try:
        until(lambda: wakeups.heard, "wake-ups arrive")
        pool.run(lambda tx: notify(tx, OUTBOX, payload="a message"))
        until(lambda: "a message" in heard, "the wake-up")
    finally:
        wakeups.stop()


TEAMS = ("care", "travel")


def test_a_teams_key_sees_its_own_on_whatever_session(
    pool: Database, pooled: str, tmp_path: Path
) -> None:
    schema.migrate(pool)
    with pool.begin() as tx:
        for team in TEAMS:
            adapters.put(tx, name=f"of-{team}", owner=team)
        made = {
            team: keys.create(tx, name=team, scopes=[Scope.READ], match={"owner": [team]})[1]
            for team in TEAMS
        }
    with serving(pool, tmp_path) as service:
        made["everybody"] = service.keys[Scope.READ]

        def seen(who: str) -> tuple[set[str], int]:
            with service.client(key=made[who]) as client:
                listed = {one["adapter"] for one in client.get("/v1/adapters").json()["items"]}
                return listed, client.get("/v1/adapters/of-care").status_code

        asked = [*TEAMS, "everybody"] * 40
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(seen, asked))
    expected = {
        "care": ({"of-care"}, 200),
        "travel": ({"of-travel"}, 404),
        "everybody": ({"of-care", "of-travel"}, 200),
    }
    assert found == [expected[who] for who in asked]
    with psycopg.connect(plain(pooled), prepare_threshold=None) as other:
        path = other.execute("SHOW search_path").fetchone()
        assert path == ('"$user", public',), "nothing is left on a session that others get"


def test_a_service_works_through_it(pooled: str, database_url: str, tmp_path: Path) -> None:
    changes = {**CALM, "database.url": pooled, "database.direct_url": database_url}
    with running(tmp_path / "service", changes=changes) as service:
        service.register("support", "v1")
        service.upload("support", "v1", baseline(300))
        service.send(Talk("support").records(60))
        until(lambda: _judged(service), "scores")
        assert not service.events("wake_ups_lost")
        assert not [one for one in service.events("request") if one["status"] >= 500]


def _judged(service: Service) -> bool:
    return any(one["n_window"] for one in service.get("/v1/adapters/support")["scores"])


# --- passwords that change ------------------------------------------------------------------


def _printing(folder: Path, text: str, *, code: int = 0) -> list[str]:
    program = folder / "password.py"
    counter = folder / "asked"
    program.write_text(
        f"import os, sys; open({str(counter)!r}, 'a').write(os.environ['PGUSER'] + '\\n');"
        f" print({text!r}); sys.exit({code})"
    )
    return [sys.executable, str(program)]


def _asked(folder: Path) -> list[str]:
    """Whose password was asked for, each time."""
    return (folder / "asked").read_text().split()


Rotate = Callable[[str], None]
"""Gives the role another password."""


def test_a_command_gives_the_password_of_new_connections(database_url: str, tmp_path: Path) -> None:
    url = make_url(database_url)
    words = _printing(tmp_path, str(url.password))
    bare = url._replace(password=None).render_as_string(hide_password=False)
    database = Database(bare, password=PasswordCommand(words))
    with ThreadPoolExecutor(4) as threads:
        pids = set(threads.map(lambda _: _session_of(database), range(40)))
    database.close()
    assert pids
    assert _asked(tmp_path) == [str(url.username)], "one answer serves all connections of a minute"


def test_an_address_with_a_password_keeps_it(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url, password=PasswordCommand(_printing(tmp_path, "token")))
    assert _session_of(database)
    database.close()
    assert not (tmp_path / "asked").exists()


def test_each_user_has_its_own(tmp_path: Path) -> None:
    command = PasswordCommand(_printing(tmp_path, "token"))
    for user in ("owner", "service", "owner"):
        command(user=user, host="db", port="5432")
    assert _asked(tmp_path) == ["owner", "service"]


def _session_of(database: Database) -> int:
    """Ask once: a connection that fails is not tried again."""
    asked = sa.text("SELECT pg_backend_pid()")
    return int(database.run(lambda tx: tx.execute(asked).scalar_one(), attempts=1))


@pytest.fixture
def rotating(
    database_url: str, server: Callable[[sql.Composed], object], tmp_path: Path
) -> Iterator[tuple[Database, Rotate]]:
    """A database as a role of its own with the password "first", and what changes that."""
    role = f"rotating_{secrets.token_hex(4)}"

    def rotate(password: str) -> None:
        changed = sql.SQL("ALTER ROLE {} PASSWORD {}")
        server(changed.format(sql.Identifier(role), sql.Literal(password)))

    server(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    rotate("first")
    url = make_url(database_url).set(username=role)._replace(password=None)
    words = _printing(tmp_path, "first")
    opened = Database(str(url), password=PasswordCommand(words))
    yield opened, rotate
    opened.close()
    server(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_password_that_the_server_has_changed_is_asked_for_at_once(
    rotating: tuple[Database, Rotate], tmp_path: Path
) -> None:
    """Before, each new connection failed until the kept password was a minute old."""
    database, rotate = rotating
    before = _session_of(database)
    rotate("second")
    _printing(tmp_path, "second")
    assert _session_of(database) == before, "whoever is in stays in"
    database.engine.dispose()
    with ThreadPoolExecutor(8) as threads:
        after = set(threads.map(lambda _: _session_of(database), range(40)))
    assert before not in after
    assert len(_asked(tmp_path)) == 2, "one new answer serves all that were refused"


def test_a_command_whose_passwords_are_refused_is_asked_once_more_for_each_connection(
    rotating: tuple[Database, Rotate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "PAUSE", timedelta())
    database, rotate = rotating
    assert _session_of(database)
    rotate("second")
    database.engine.dispose()
    for printed, asked in (("first", 2), ("third", 3), ("third", 4)):
        _printing(tmp_path, printed)
        with pytest.raises(sa.exc.OperationalError, match="password authentication failed"):
            _session_of(database)
        assert len(_asked(tmp_path)) == asked
    _printing(tmp_path, "second")
    assert _session_of(database), "it does not stay refused"


def test_a_server_that_refuses_every_password_does_not_have_the_command_run_on_and_on(
    tmp_path: Path,
) -> None:
    clock = [0.0]
    command = PasswordCommand(_printing(tmp_path, "token"), monotonic=lambda: clock[0])
    for clock[0], asked in ((1.0, 2), (2.0, 2), (5.9, 2), (6.0, 3)):
        assert command(user="one", refused=command(user="one")) == "token"
        assert len(_asked(tmp_path)) == asked


def test_a_server_that_is_away_refuses_no_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{unused_port()}/nothing"
    database = Database(url, password=PasswordCommand(_printing(tmp_path, "token")))
    for _ in range(3):
        with pytest.raises(sa.exc.OperationalError, match="refused"):
            _session_of(database)
    database.close()
    assert _asked(tmp_path) == ["nobody"]


def test_a_password_is_asked_for_again_after_a_minute(tmp_path: Path) -> None:
    times = iter([0.0, KEPT.total_seconds(), KEPT.total_seconds() + 1])
    command = PasswordCommand(_printing(tmp_path, "token"), monotonic=lambda: next(times))
    assert [command() for _ in range(3)] == ["token"] * 3
    assert (tmp_path / "asked").read_text() == "\n\n"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [("secret", 3, "ended with 3"), ("", 0, "no password")],
)
def test_a_command_that_fails_is_told_without_its_output(
    tmp_path: Path, text: str, code: int, said: str
) -> None:
    command = PasswordCommand(_printing(tmp_path, text, code=code))
    with pytest.raises(psycopg.OperationalError, match=said) as failed:
        command()
    assert "secret" not in str(failed.value)


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(psycopg.OperationalError, match="nowhere: FileNotFoundError"):
        PasswordCommand(["nowhere"])()
