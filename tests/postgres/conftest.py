"""A data folder, its server, and other processes that join it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.postgres import EmbeddedPostgres
from tests.postgres.faults import SMALL, User

_PROGRAM = """
import sys
from pathlib import Path
from monitor.postgres import EmbeddedPostgres, ServerSettings
settings = ServerSettings(shared_buffers="16MB", max_connections=20)
with EmbeddedPostgres(Path(sys.argv[1]), settings=settings) as server:
    print("conninfo " + server.conninfo, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(data_dir, settings=SMALL) as embedded:
        yield embedded


@pytest.fixture
def join(data_dir: Path) -> Iterator[Callable[[], User]]:
    """Start another process on the folder; whatever is left at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start() -> User:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        assert process.stdout is not None
        said = next(line for line in process.stdout if line.startswith("conninfo "))
        return User(process=process, conninfo=said.removeprefix("conninfo ").strip())

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    # Adopt what the killed ones left, to stop it.
    with EmbeddedPostgres(data_dir, settings=SMALL):
        pass
