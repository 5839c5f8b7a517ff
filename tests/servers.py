"""PostgreSQL servers of one's own, over TCP, of which one follows the other."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from monitor.postgres.account import ServerAccount, choose_account
from monitor.postgres.binaries import find_binaries
from monitor.postgres.process import live_postmaster
from tests.loopback import unused_port

OWNER = "driftline"
PATIENCE = 180.0
SMALL = (
    "-cshared_buffers=32MB",
    "-cfsync=off",  # processes are killed here, not the machine
    "-clisten_addresses=127.0.0.1",
    "-cunix_socket_directories=",
    "-cwal_level=replica",
)


@dataclass
class Server:
    """A cluster in a folder of its own; whoever comes over the loopback interface is let in."""

    folder: Path
    account: ServerAccount
    name: str
    port: int = field(default_factory=unused_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={OWNER} dbname=postgres"

    @property
    def url(self) -> str:
        """The address of the database ``driftline`` there, for SQLAlchemy."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/driftline"

    def make(self) -> None:
        self._run(
            "initdb",
            f"--pgdata={self.folder}",
            f"--username={OWNER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        )

    def follow(self, other: "Server") -> None:
        """Become a standby, by a copy of the running server."""
        source = f"{other.conninfo} application_name={self.name}"
        self._run("pg_basebackup", f"--pgdata={self.folder}", f"--dbname={source}", "-R", "-cfast")

    def start(self, *settings: str) -> None:
        with self.folder.with_suffix(".log").open("ab") as output:
            self.process = self.account.spawn(
                "postgres",
                f"-D{self.folder}",
                f"-p{self.port}",
                *SMALL,
                *(f"-c{one}" for one in settings),
                output=output,
                descriptors=(),
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(psycopg.OperationalError), psycopg.connect(self.conninfo):
                return
            assert time.monotonic() < deadline, self.folder.with_suffix(".log").read_text()
            time.sleep(0.1)

    def promote(self) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("SELECT pg_promote(true, 60)")

    def kill(self) -> None:
        """End it as a power cut would: the postmaster by SIGKILL, and its children follow."""
        assert self.process is not None
        found = live_postmaster(self.folder)
        assert found is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return
            self.process.send_signal(3)  # SIGQUIT: at once
            self.process.wait(PATIENCE)

    def _run(self, program: str, *arguments: str) -> None:
        done = self.account.spawn(
            program, *arguments, output=subprocess.PIPE, descriptors=()
        ).communicate(timeout=PATIENCE)
        assert (self.folder / "PG_VERSION").exists(), done[0].decode()


@contextmanager
def pair(folder: Path, *, synchronous: bool) -> Iterator[tuple[Server, Server]]:
    """Run a primary with the database ``driftline``, and a standby that follows it."""
    account = choose_account(find_binaries())
    first, second = (Server(folder / name, account, name) for name in ("first", "second"))
    try:
        first.make()
        first.start()
        second.follow(first)
        second.start()
        with psycopg.connect(first.conninfo, autocommit=True) as connection:
            connection.execute("CREATE DATABASE driftline")
            if synchronous:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'second'")
                connection.execute("SELECT pg_reload_conf()")
        yield first, second
    finally:
        second.stop()
        first.stop()
