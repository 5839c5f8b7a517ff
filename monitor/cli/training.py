"""The work of `driftline retraining run`: a trainer that asks the service as a command does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from monitor.cli import options, screen
from monitor.cli.client import Service
from monitor.cli.failures import CommandFailed, NotAnswering, failing
from monitor.loading import loading
from monitor.trainer.errors import ServiceAway, TrainingError, TrainingFailed

if TYPE_CHECKING:
    from monitor.config.training import TrainerPart
    from monitor.trainer.reporting import Show
    from monitor.trainer.shapes import Ended
    from monitor.trainer.work import TrainerWork


@dataclass(frozen=True, slots=True)
class TrainersService:
    """The service, with the trainer's errors in place of the command's."""

    service: Service

    def get(self, path: str, **parameters: object) -> Any:
        """GET under ``/v1``."""
        with _trainers_errors():
            return self.service.get(path, **parameters)

    def post(self, path: str, body: object) -> Any:
        """POST under ``/v1``."""
        with _trainers_errors():
            return self.service.post(path, body)

    def put(self, path: str, body: object) -> Any:
        """PUT under ``/v1``."""
        with _trainers_errors():
            return self.service.put(path, body)

    def lines(self, path: str, **parameters: object) -> Iterator[str]:
        """GET lines under ``/v1``."""
        with _trainers_errors():
            yield from self.service.lines(path, **parameters)


@contextmanager
def _trainers_errors() -> Iterator[None]:
    try:
        yield
    except NotAnswering as error:
        raise ServiceAway(str(error)) from None
    except CommandFailed as error:
        raise TrainingFailed(str(error)) from None


def settings(config: Path | None) -> TrainerPart:
    """Read what a trainer needs of the config; raises CommandFailed."""
    with loading(), options.wrong_config():
        from monitor.config.training import load_trainer_part

        return load_trainer_part(config)


def train(service: Service, found: TrainerPart, number: int, *, again: bool) -> Ended:
    """Train a request, with its steps on the screen; raises CommandFailed."""
    with _on_terminal() if screen.ERR.is_terminal else _as_lines() as show:
        work = _work(service, found, show)
        with failing(TrainingError, OSError, of=f"request {number}"):
            return work.train(number, again=again)


def _work(service: Service, found: TrainerPart, show: Show) -> TrainerWork:
    with loading():
        from alerts.addresses import PRIVATE_NETWORKS
        from alerts.outgoing import OutgoingClient
        from monitor.config.artifacts import artifacts_of
        from monitor.engine_addresses import EngineAddresses
        from monitor.probes.perplexity import LARGEST_ANSWER
        from monitor.trainer.serving import TrainerEngines
        from monitor.trainer.work import TrainerWork

    # the operator wrote these addresses: engines, a teacher, the own log
    allow = (*found.outgoing.allow, *PRIVATE_NETWORKS)
    http = OutgoingClient(replace(found.outgoing, allow=allow, response_limit=LARGEST_ANSWER))
    key = found.serving.api_key
    return TrainerWork(
        api=TrainersService(service),
        http=http,
        engines=TrainerEngines(
            addresses=EngineAddresses(found.serving.engines),
            http=http,
            headers={"authorization": f"Bearer {key}"} if key else {},
        ),
        settings=found.trainer,
        files=artifacts_of(
            found.artifacts, found.outgoing, data_dir=found.service.data_dir
        ).fetched,
        show=show,
    )


@contextmanager
def _on_terminal() -> Iterator[Show]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:9}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=screen.ERR) as progress:
        tasks: dict[str, Any] = {}

        def show(step: str, done: float, note: str) -> None:
            if step not in tasks:
                for known in tasks.values():
                    progress.update(known, completed=1.0)
                    progress.stop_task(known)
                tasks[step] = progress.add_task(step, total=1.0, note="")
            progress.update(tasks[step], completed=done, note=screen.plain(note))

        yield show


@contextmanager
def _as_lines() -> Iterator[Show]:
    """Print a line for each step, and for what is new of it: for a log."""
    last = ("", "")

    def show(step: str, _: float, note: str) -> None:
        nonlocal last
        if (step, note) != last:
            last = (step, note)
            screen.note(f"{step}: {note}" if note else step)

    yield show
