"""Several processes on one data folder, and what their deaths leave."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from monitor.postgres import EmbeddedPostgres
from monitor.postgres.folder import exclusive, open_lock
from monitor.postgres.guardian import guard
from monitor.postgres.process import live_postmaster
from tests.postgres.faults import (
    SMALL,
    User,
    entirely_gone,
    keep,
    rows,
    rows_when_back,
    server_pid,
    until,
)

Join = Callable[[], User]


def test_two_processes_share_one_server_and_the_last_one_stops_it(
    join: Join, data_dir: Path
) -> None:
    first, second = join(), join()
    assert first.conninfo == second.conninfo
    shared = server_pid(data_dir)
    keep(first.conninfo, 1)
    assert rows(second.conninfo) == [1]
    first.leave()
    assert server_pid(data_dir) == shared
    keep(second.conninfo, 2)
    second.leave()
    assert live_postmaster(data_dir / "postgres" / "cluster") is None
    assert entirely_gone(data_dir)


def test_processes_that_start_at_once_get_one_server(data_dir: Path) -> None:
    servers = [EmbeddedPostgres(data_dir, settings=SMALL) for _ in range(4)]
    starts = [threading.Thread(target=server.start) for server in servers]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len({server.conninfo for server in servers}) == 1
    stops = [threading.Thread(target=server.stop) for server in servers]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()
    assert entirely_gone(data_dir)


def test_the_server_of_a_killed_process_is_adopted_with_every_acknowledged_row(
    join: Join, data_dir: Path
) -> None:
    for turn in range(3):
        user = join()
        keep(user.conninfo, turn)
        before = server_pid(data_dir)
        user.kill()
        with EmbeddedPostgres(data_dir, settings=SMALL) as server:
            assert rows(server.conninfo) == list(range(turn + 1))
            assert server_pid(data_dir) == before


def test_process_and_server_killed_together_start_anew_with_every_acknowledged_row(
    join: Join, data_dir: Path
) -> None:
    for turn in range(3):
        user = join()
        keep(user.conninfo, turn)
        victim = server_pid(data_dir)
        user.kill()
        os.kill(victim, signal.SIGKILL)
    with EmbeddedPostgres(data_dir, settings=SMALL) as server:
        assert rows(server.conninfo) == [0, 1, 2]


def test_who_adopted_a_server_restarts_it_when_starter_and_server_die(
    join: Join, data_dir: Path
) -> None:
    starter, other = join(), join()
    keep(other.conninfo, 1)
    starter.kill()
    os.kill(server_pid(data_dir), signal.SIGKILL)
    assert rows_when_back(other.conninfo) == [1]
    other.leave()
    assert entirely_gone(data_dir)


def test_a_process_killed_while_it_creates_the_cluster_leaves_a_usable_folder(
    data_dir: Path,
) -> None:
    program = (
        "import sys; from pathlib import Path; from monitor.postgres import EmbeddedPostgres; "
        "EmbeddedPostgres(Path(sys.argv[1])).start()"
    )
    root = data_dir / "postgres"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data_dir)], cwd=Path(__file__).parents[2]
    ) as process:
        until(lambda: any(root.glob("creating-*/base")))
        process.kill()
    with EmbeddedPostgres(data_dir, settings=SMALL) as server:
        keep(server.conninfo, 1)
        assert not list(root.glob("creating-*"))


def run_guardian(root: Path, pidfd: int) -> threading.Thread:
    guardian = threading.Thread(
        target=guard,
        args=(root / "control.lock", root / "users.lock"),
        kwargs={"pidfd": pidfd, "grace_seconds": 1.0},
    )
    guardian.start()
    return guardian


def test_the_guardian_ends_a_server_that_nobody_uses_any_more(tmp_path: Path) -> None:
    for name in ("control", "users"):
        os.close(open_lock(tmp_path / f"{name}.lock"))
    with subprocess.Popen(["env", "--default-signal=INT", "sleep", "600"]) as unused:
        pidfd = os.pidfd_open(unused.pid)
        run_guardian(tmp_path, pidfd).join()
        assert unused.wait() == -signal.SIGINT
    os.close(pidfd)


def test_the_guardian_leaves_a_used_server_alone_and_goes_with_it(tmp_path: Path) -> None:
    os.close(open_lock(tmp_path / "control.lock"))
    with (
        subprocess.Popen(["sleep", "3"]) as used,
        exclusive(tmp_path / "users.lock", deadline=0),
    ):
        pidfd = os.pidfd_open(used.pid)
        run_guardian(tmp_path, pidfd).join()
        assert used.wait() == 0
    os.close(pidfd)


def test_the_guardian_ends_a_server_whose_folder_was_deleted(tmp_path: Path) -> None:
    with subprocess.Popen(["env", "--default-signal=INT", "sleep", "600"]) as orphan:
        pidfd = os.pidfd_open(orphan.pid)
        run_guardian(tmp_path / "deleted", pidfd).join()
        assert orphan.wait() == -signal.SIGINT
    os.close(pidfd)
