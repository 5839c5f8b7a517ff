"""One service for all commands: one adapter is quiet, one drifts, one is broken."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import Ran, driftline, process
from tests.inbox import Inbox
from tests.service import Service, Talk, baseline, running, until

Run = Callable[..., Ran]

QUIET, DRIFTS, BROKEN = "quiet", "drifts", "broken"
HOSTILE = "acme/[bold]evil[/bold]\x1b]0;owned\x07"
"""A name with a slash, with markup and with an escape that sets a terminal's title."""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Inbox() as inbox, running(tmp_path_factory.mktemp("cli"), inbox=inbox) as started:
        for adapter in (QUIET, DRIFTS, BROKEN):
            started.register(adapter, "v1")
        started.upload(QUIET, "v1", baseline(1_000))
        started.upload(BROKEN, "v1", baseline(1_000, seed=2))
        # two days approve nothing: soft evidence opens a ticket, never a page
        started.upload(DRIFTS, "v1", baseline(1_000, days=2.0, seed=3))
        _talk(started, QUIET, shift=0.0, until_verdict="stable")
        _talk(started, DRIFTS, shift=4.0, until_verdict="drifting")
        _talk(started, BROKEN, shift=4.0, until_verdict="critical")
        yield started


def _talk(service: Service, adapter: str, *, shift: float, until_verdict: str) -> None:
    talk = Talk(adapter)

    def found() -> bool:
        service.send(talk.records(100, shift=shift))
        return bool(service.evaluate(adapter)["verdict"] == until_verdict)

    until(found, f"{adapter} is {until_verdict}")


def _told(service: Service) -> dict[str, str]:
    return {
        "DRIFTLINE_URL": service.url,
        "DRIFTLINE_KEY": service.key,
        "DRIFTLINE_SERVICE__DATA_DIR": str(service.data_dir),
    }


@pytest.fixture
def run(service: Service, tmp_path: Path) -> Run:
    """``driftline``, told of the service by the environment."""
    return lambda *words: driftline(*words, environ=_told(service), cwd=tmp_path)


@pytest.fixture
def alone(service: Service, tmp_path: Path) -> Run:
    """The same as a process of its own, for commands that open the database."""
    return lambda *words: process(*words, environ=_told(service), cwd=tmp_path)
