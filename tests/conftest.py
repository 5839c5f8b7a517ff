"""A real PostgreSQL server for the whole test session, and a fresh database for each test."""

import gc
import logging
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

# workers share the cores, and threads of arithmetic that wait for a core wait by spinning: before
# anything imports NumPy or torch, and inherited by every process that a test starts
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psycopg
import pytest
import structlog
from hypothesis import settings
from psycopg import sql
from sqlalchemy.engine import make_url
from xdist.scheduler import LoadScopeScheduling

from monitor.postgres import EmbeddedPostgres, ServerSettings
from monitor.store import schema
from monitor.store.database import Database
from tests.service import Service

# started by nohup or in the background, this process ignores SIGINT, and so would every process
# that a test starts and then interrupts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# no test is timed: a machine that is busy elsewhere must not fail one
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# what commands print shall not depend on the width of whoever's terminal runs the tests
os.environ.pop("COLUMNS", None)

SMALL = ServerSettings(shared_buffers="32MB", max_wal_size="64MB")

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where there is one, files in it are memory
ROOM = 8 << 30
"""Bytes it must have free; a run holds some two at once."""

TOGETHER = ("tests/cli/", "tests/docs/", "tests/probes/local/", "tests/web/")
"""Folders whose tests share a service, an engine or a browser."""


class Shared(LoadScopeScheduling):
    """Let one worker run all of a file, or of a folder that shares what is dear to start."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next((one for one in TOGETHER if nodeid.startswith(one)), None)
        return folder or nodeid.split("::", 1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shared:
    return Shared(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what only one worker can run, so that none is alone with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Load all tests without looking for garbage among what stays, and leave it alone after.

    To look through all of it takes a second. A process that only hands tests out loads none.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let files of tests lie in memory: a database is 650 of them, and there are thousands."""
    if config.option.basetemp or hasattr(config, "workerinput") or not IN_MEMORY.is_dir():
        return
    found = os.statvfs(IN_MEMORY)
    if found.f_bavail * found.f_frsize < ROOM or found.f_flag & os.ST_NOEXEC:
        return
    folder = IN_MEMORY / f"driftline-{os.getpid()}"
    config.option.basetemp = str(folder)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what a test's service knew when the test failed: waiting for a verdict, say why not."""
    del call
    report = yield
    if report.when == "call" and report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Service):
                report.sections.append((f"what {name} knew", value.account()))
    return report


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    """Structlog's default draws tracebacks with every local array: seconds for each.

    Set before each test, because a command that runs in this process sets its own.
    Lines go where the process writes, so that a command whose output a test redirects is alone.
    """
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(file=sys.__stdout__),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=False,
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SQLAlchemy URL of a server: ``DRIFTLINE_TEST_DATABASE__URL``, else an embedded one."""
    given = os.environ.get("DRIFTLINE_TEST_DATABASE__URL")
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("server")
    with EmbeddedPostgres(folder, settings=SMALL) as server:
        yield server.url


Do = Callable[[sql.Composed], object]
"""Executes one statement outside any transaction."""


@pytest.fixture(scope="session")
def server(postgres: str) -> Iterator[Do]:
    """One connection for all that makes and drops databases: a new one costs half as much."""
    plain = make_url(postgres).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture
def database_url(postgres: str, server: Do) -> Iterator[str]:
    """SQLAlchemy URL of an empty database that lives for one test."""
    name = f"test_{secrets.token_hex(6)}"
    own = make_url(postgres).set(database=name)
    server(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    yield own.render_as_string(hide_password=False)
    server(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated(postgres: str, server: Do) -> str:
    """Name of a database at the newest schema, which others are copied from."""
    name = f"migrated_{secrets.token_hex(6)}"
    own = make_url(postgres).set(database=name)
    server(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    database = Database(own.render_as_string(hide_password=False))
    schema.migrate(database)
    database.close()
    return name


@pytest.fixture
def database(postgres: str, migrated: str, server: Do) -> Iterator[Database]:
    """A database at the newest schema that lives for one test."""
    name = f"test_{secrets.token_hex(6)}"
    own = make_url(postgres).set(database=name)
    server(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(migrated)
        )
    )
    opened = Database(own.render_as_string(hide_password=False))
    yield opened
    opened.close()
    server(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
