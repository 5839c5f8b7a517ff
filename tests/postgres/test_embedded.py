"""One process and its server: start, stop, refuse, come back."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from monitor.postgres import (
    DataFolderBusy,
    EmbeddedPostgres,
    ServerSettings,
    StartFailed,
    VersionMismatch,
)
from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.postgres.folder import exclusive
from tests.postgres.faults import (
    SMALL,
    entirely_gone,
    keep,
    rows,
    rows_when_back,
    server_pid,
    until,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def shown(conninfo: str, setting: str) -> str:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
    assert row is not None
    return str(row[0])


def test_it_serves_its_database_to_sqlalchemy(server: EmbeddedPostgres) -> None:
    engine = sqlalchemy.create_engine(server.url)
    with engine.connect() as connection:
        answer = connection.execute(sqlalchemy.text("SELECT current_database(), current_user"))
        assert answer.one() == ("driftline", "driftline")
    engine.dispose()


def test_it_runs_durable_in_utf8_and_utc_and_without_a_tcp_port(server: EmbeddedPostgres) -> None:
    wanted = {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "autovacuum": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "max_connections": "20",
        "shared_buffers": "16MB",
    }
    assert {name: shown(server.conninfo, name) for name in wanted} == wanted


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    wrong = psycopg.conninfo.make_conninfo(server.conninfo, password="guess")  # noqa: S106 - wrong
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_stop_leaves_no_process_and_no_address(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    server.start()
    assert server.running()
    server.stop()
    assert not server.running()
    assert entirely_gone(data_dir)
    with pytest.raises(StartFailed, match="started"):
        _ = server.url


def test_starting_twice_and_stopping_twice_change_nothing(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    server.start()
    first = server_pid(data_dir)
    server.start()
    assert server_pid(data_dir) == first
    server.stop()
    server.stop()


def test_a_restart_keeps_the_rows_and_the_address(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    with server:
        keep(server.conninfo, 1)
        address = server.conninfo
    with server:
        assert server.conninfo == address
        assert rows(server.conninfo) == [1]


def test_the_modes_of_a_closed_home_stay_and_ours_are_closed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("h") / "home"  # a socket's path ends after 107 bytes
    home.mkdir(mode=0o700)
    with EmbeddedPostgres(home / "data", settings=SMALL):
        root = home / "data" / "postgres"
        assert mode(home) == 0o700
        assert mode(root) == 0o700
        assert mode(root / "password") == 0o600
        assert mode(root / "run") == 0o700
        assert mode(root / "cluster") == 0o700
        assert (root / "cluster").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT], ids=lambda n: n.name)
def test_a_killed_server_comes_back_by_itself_with_every_acknowledged_row(
    server: EmbeddedPostgres, data_dir: Path, number: signal.Signals
) -> None:
    for turn in range(3):
        keep(server.conninfo, turn)
        os.kill(server_pid(data_dir), number)
        assert rows_when_back(server.conninfo) == list(range(turn + 1))


def test_a_restart_by_hand_ends_in_one_supervised_server(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    keep(server.conninfo, 1)
    account = choose_account(find_binaries())
    subprocess.run(
        [
            *account.prefix,
            account.bin / "pg_ctl",
            f"--pgdata={data_dir / 'postgres' / 'cluster'}",
            "--mode=immediate",
            "restart",
        ],
        check=False,  # it or the supervisor may be the one whose new server stays
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert rows_when_back(server.conninfo) == [1]
    os.kill(server_pid(data_dir), signal.SIGKILL)
    assert rows_when_back(server.conninfo) == [1]


def leave_stale_locks(data_dir: Path, pid: int) -> None:
    """Kill-like remains: the pid file and the socket lock name a process that is no server."""
    root = data_dir / "postgres"
    cluster, run = root / "cluster", root / "run"
    (cluster / "postmaster.pid").write_text(
        f"{pid}\n{cluster}\n1700000000\n5432\n{run}\n\n\nready\n"
    )
    (run / ".s.PGSQL.5432.lock").write_text(f"{pid}\n{cluster}\n1700000000\n5432\n{run}\n")


def test_lock_files_that_name_a_foreign_process_do_not_stop_a_start(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    with server:
        keep(server.conninfo, 1)
    leave_stale_locks(data_dir, os.getppid())
    assert not server.running()
    with server:
        assert rows(server.conninfo) == [1]
        assert server_pid(data_dir) != os.getppid()


def test_lock_files_that_name_a_zombie_do_not_stop_a_start(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    with server:
        keep(server.conninfo, 1)
    with subprocess.Popen(["true"]) as zombie:
        until(lambda: ") Z" in Path(f"/proc/{zombie.pid}/stat").read_text())
        leave_stale_locks(data_dir, zombie.pid)
        with server:
            assert rows(server.conninfo) == [1]


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 30) / "data"
    with EmbeddedPostgres(deep, settings=SMALL) as server:
        keep(server.conninfo, 1)
        socket_dir = Path(str(psycopg.conninfo.conninfo_to_dict(server.conninfo)["host"]))
        assert deep not in socket_dir.parents
        assert mode(socket_dir) == 0o700
    socket_dir.rmdir()


def test_a_path_with_a_comma_and_quotes_works(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "a, 'b' & \"c\" é", settings=SMALL) as server:
        keep(server.conninfo, 1)
        assert rows(server.conninfo) == [1]
        socket_dir = Path(str(psycopg.conninfo.conninfo_to_dict(server.conninfo)["host"]))
    socket_dir.rmdir()


def test_data_of_another_major_version_are_refused_and_left_alone(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    with server:
        pass
    version = data_dir / "postgres" / "cluster" / "PG_VERSION"
    version.write_text("15\n")
    with pytest.raises(VersionMismatch, match=r"PostgreSQL 15, .*18: dump it.*database\.url"):
        server.start()
    assert version.read_text() == "15\n"
    assert entirely_gone(data_dir)


def test_a_lost_password_file_is_named(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=SMALL)
    with server:
        pass
    (data_dir / "postgres" / "password").unlink()
    with pytest.raises(StartFailed, match="password is missing"):
        server.start()


def test_a_server_that_refuses_its_configuration_says_why_and_leaves_nothing(
    data_dir: Path,
) -> None:
    server = EmbeddedPostgres(data_dir, settings=ServerSettings(shared_buffers="1kB"))
    with pytest.raises(StartFailed) as failure:
        server.start()
    assert "shared_buffers" in failure.value.log_tail
    assert entirely_gone(data_dir)
    with EmbeddedPostgres(data_dir, settings=SMALL) as repaired:
        keep(repaired.conninfo, 1)


def test_the_rest_of_an_interrupted_creation_is_cleared(data_dir: Path) -> None:
    rest = data_dir / "postgres" / "creating-x"
    rest.mkdir(parents=True)
    (rest / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(data_dir, settings=SMALL):
        assert not rest.exists()


@pytest.mark.parametrize("lock", ["control", "server"])
def test_a_folder_that_somebody_holds_is_reported_busy(data_dir: Path, lock: str) -> None:
    root = data_dir / "postgres"
    root.mkdir(parents=True)
    server = EmbeddedPostgres(data_dir, settings=SMALL, start_timeout=0.2)
    with (
        exclusive(root / f"{lock}.lock", deadline=time.monotonic() + 1),
        pytest.raises(DataFolderBusy, match=r"holds .*data_dir"),
    ):
        server.start()


def test_rows_quoted_in_errors_do_not_reach_the_log(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE said (prompt text PRIMARY KEY)")
        connection.execute("INSERT INTO said VALUES ('my secret prompt')")
        with pytest.raises(psycopg.errors.UniqueViolation, match="my secret prompt"):
            connection.execute("INSERT INTO said VALUES ('my secret prompt')")
    folder = data_dir / "postgres" / "cluster" / "log"

    def logged() -> str:
        return "".join(path.read_text() for path in folder.glob("*.log"))

    # the server's log collector writes when it gets to it
    until(lambda: "duplicate key" in logged())
    assert "my secret prompt" not in logged()
