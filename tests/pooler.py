"""A real PgBouncer in transaction mode, before a database of a test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy.engine import make_url

from tests.loopback import unused_port
from tests.service import until
from tests.tools import skip_unless

BOUNCER: Final = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
AS_NOBODY: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
"""PgBouncer refuses to run as root."""
SESSIONS: Final = 2
"""Of the server, that it lends to everyone."""


def plain(url: str) -> str:
    """Write an address of SQLAlchemy as psycopg takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def through_pgbouncer(database_url: str, folder: Path, *settings: str) -> Iterator[str]:
    """Run it until the body ends; gives the address of the same database through it."""
    skip_unless(BOUNCER, "`make pgbouncer` installs it")
    direct, port = make_url(database_url), unused_port()
    users, ini = folder / "users", folder / "pgbouncer.ini"
    users.write_text(f'"{direct.username}" "{direct.password}"\n')
    users.chmod(0o600)
    ini.write_text(
        f"""
[databases]
* = host={direct.query.get("host", direct.host)} port={direct.port or 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = transaction
default_pool_size = {SESSIONS}
max_client_conn = 500
"""
        + "\n".join(settings)
    )
    through = direct.set(host="127.0.0.1", port=port, query={})
    text = through.render_as_string(hide_password=False)
    log = folder / "pgbouncer.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*(AS_NOBODY if os.geteuid() == 0 else ()), str(BOUNCER), ini],
            stdout=output,
            stderr=output,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(plain(text), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        until(answers, "PgBouncer answers")
        yield text
    finally:
        process.terminate()
        process.wait(10)
