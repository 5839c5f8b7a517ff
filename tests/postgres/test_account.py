"""Who the server runs as: root in a namespace, root without one, an ordinary user."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from monitor.postgres import BinariesMissing, EmbeddedPostgres
from monitor.postgres.binaries import find_binaries
from tests.postgres.faults import server_pid

REPOSITORY = Path(__file__).parents[2]
_PROGRAM = """
import sys
from pathlib import Path
import psycopg
from monitor.postgres import EmbeddedPostgres, PostgresError
from monitor.postgres.process import live_postmaster
data_dir = Path(sys.argv[1])
server = EmbeddedPostgres(data_dir)
for turn in range(2):
    try:
        server.start()
    except PostgresError as error:
        print(type(error).__name__, error)
        break
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number integer)")
        connection.execute("INSERT INTO kept VALUES (1)")
        pid = live_postmaster(data_dir / "postgres" / "cluster").pid
        owner = Path(f"/proc/{pid}").stat().st_uid
        print("rows", connection.execute("SELECT count(*) FROM kept").fetchone()[0], owner)
    server.stop()
"""
# In mounts of our own: what the fallback leaves on a machine does not reach this one.
_PRIVATE = """
set -e
mount -t tmpfs tmpfs /var/lib
mkdir "$1/etc"
cp -a /etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/nsswitch.conf /etc/login.defs "$1/etc/"
mount --bind "$1/etc" /etc
"""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root takes this way")


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )
    said = [line for line in done.stdout.splitlines() if "[info" not in line]
    return "\n".join([*said, done.stderr.strip()]).strip()


def in_private_mounts(script: str, tmp_path: Path) -> str:
    if run("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"):
        pytest.skip("this sandbox lets root make no mounts of its own")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    return run("unshare", "--mount", "sh", "-c", _PRIVATE + script, "sh", tmp_path, closed / "data")


def start_without_namespaces() -> str:
    # Nothing named unshare is on this PATH.
    return f"PATH=/nowhere exec {sys.executable} -c '{_PROGRAM}' \"$2\"\n"


@root_only
def test_root_runs_the_server_as_its_own_files_owner_without_capabilities(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with psycopg.connect(server.conninfo):
        pid = server_pid(data_dir)
    inside = Path(f"/proc/{pid}/uid_map").read_text().split()
    if inside[2] == "4294967295":
        pytest.skip("user namespaces are refused here")
    assert int(inside[0]) != 0
    assert inside[1:] == ["0", "1"]
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()


@root_only
def test_root_without_namespaces_uses_a_system_user_even_inside_a_closed_folder(
    tmp_path: Path,
) -> None:
    said = in_private_mounts(start_without_namespaces(), tmp_path).splitlines()
    assert [line.split()[:2] for line in said] == [["rows", "1"], ["rows", "2"]]
    owner = int(said[0].split()[2])
    assert owner != 0
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700
    cluster = tmp_path / "closed" / "data" / "postgres" / "cluster"
    assert cluster.stat().st_uid == owner
    for left in Path("/tmp").glob(  # noqa: S108 - where the socket goes
        f"driftline-{owner}-*"
    ):
        left.rmdir()


@root_only
def test_root_with_neither_is_told_about_the_database_url(tmp_path: Path) -> None:
    hide = "mount --bind /dev/null /usr/sbin/useradd\n"
    said = in_private_mounts(hide + start_without_namespaces(), tmp_path)
    assert said.startswith("NamespaceRefused running as root")
    assert "database.url" in said


@root_only
def test_an_ordinary_user_runs_it_directly() -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    become = ("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", "env")
    if run(*become, sys.executable, "-c", "import monitor"):
        pytest.skip("this interpreter or repository lies in a folder closed to ordinary users")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, nobody, -1)
        lines = run(*become, sys.executable, "-c", _PROGRAM, Path(folder) / "data").splitlines()
    assert lines == [f"rows 1 {nobody}", f"rows 2 {nobody}"]


@root_only
def test_a_folder_of_another_user_is_refused_with_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    os.chown(folder, 12345, -1)
    said = run(sys.executable, "-c", _PROGRAM, tmp_path)
    assert said.startswith(f"DataFolderBusy {folder} belongs to user id 12345: run as that user")


def test_a_missing_wheel_is_named() -> None:
    with pytest.raises(BinariesMissing, match=r"no-such-wheel is not installed.*database\.url"):
        find_binaries("no-such-wheel")
