"""The work of a trainer: from a request to a version that is admitted, step by step.

Each step leaves files in the request's folder, so that a worker that was killed goes on after the
last one that it finished. The service knows who works on what, and hears of every step.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote
from uuid import uuid4

import msgspec

from alerts.outgoing import OutgoingClient
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.probes.weights.errors import WeightsRefused
from monitor.trainer import examples, files, fit
from monitor.trainer.errors import (
    ServiceAway,
    TrainingError,
    TrainingFailed,
    TrainingLost,
    TrainingRefused,
)
from monitor.trainer.files import FitResult, one_part
from monitor.trainer.fit import ParentVersion, ParentWeights
from monitor.trainer.gathering import Api, Gathering
from monitor.trainer.mixing import FEWEST, MixedExamples, mix
from monitor.trainer.reporting import Show, TrainingReports, patiently
from monitor.trainer.serving import TrainerEngines
from monitor.trainer.settings import AfterAdmission, TrainerSettings
from monitor.trainer.shapes import Asked, Ended, MadeVersion, versions_path

POLL_S: Final = 1.0
ADMISSION_S: Final = 3600.0
_UNDER_WAY: Final = frozenset({"waiting", "running"})
_ADMITTED: Final = frozenset({"pass", "warn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerWork:
    """Trains requests, one at a time on this machine.

    Parameters
    ----------
    show
        Is told of every step, with how far it is in [0, 1].
    files
        Finds the folder of the parent's files.
    fit
        Trains, as :func:`monitor.trainer.fit.fit` does.
    """

    api: Api
    http: OutgoingClient
    engines: TrainerEngines
    settings: TrainerSettings
    show: Show
    files: fit.FindsFiles = fit.local_files
    fit: Callable[..., FitResult] = fit.fit

    def train(self, request: int, *, again: bool = False) -> Ended:
        """Train a request to its end; one that was killed goes on where it was.

        Raises
        ------
        TrainingFailed
            Something was not there, or broke; beginning again goes on where it was.
        TrainingLost
            Another worker has it, or a person cancelled it.
        ServiceAway
            The service does not answer; beginning again goes on where it was.
        """
        with self._alone() as worker, TrainingReports(self.api, request, show=self.show) as reports:
            reports.begin(worker=worker, again=again)
            job = _Job(work=self, reports=reports, request=request)
            try:
                note = job.done(again=again)
            except TrainingRefused as refused:
                reports.end("refused", str(refused))
                return Ended(state="refused", note=str(refused), made=reports.made)
            except (TrainingLost, ServiceAway):
                raise
            except (OSError, WeightsRefused, msgspec.ValidationError) as error:
                reports.end("failed", str(error))
                raise TrainingFailed(str(error)) from error
            except TrainingError as error:
                reports.end("failed", str(error))
                raise
            reports.end("done", note)
            return Ended(state="done", note=note, made=reports.made)

    @property
    def root(self) -> Path:
        """The folder of all new adapters."""
        return self.settings.into.expanduser().resolve()

    @contextmanager
    def _alone(self) -> Iterator[str]:
        """Hold the folder of all trainings, and return this worker's name."""
        folder = self.root / ".work"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # users' texts
        with (folder / "lock").open("a", encoding="utf-8") as held:
            _lock(held, self.root)
            name = folder / "worker"
            if not name.exists():
                files.written(name, f"{socket.gethostname()}-{uuid4().hex[:8]}".encode())
            yield name.read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One request under one worker."""

    work: TrainerWork
    reports: TrainingReports
    request: int

    @property
    def settings(self) -> TrainerSettings:
        return self.work.settings

    def done(self, *, again: bool) -> str:
        """Do all steps, and say what came of them."""
        asked = self._get(f"/retraining/{self.request}", Asked)
        parent = self._get(
            f"{versions_path(asked.adapter)}/{quote(asked.version, safe='')}", ParentVersion
        )
        weights = fit.parent_weights(self.settings, parent, self.work.files)
        folder = self._folder(weights, again=again)
        mixed = self._mix(asked, parent, folder)
        self.reports.at("train")
        plan = fit.planned(self.settings, weights, data=_hash_of(folder), new=len(mixed.new))
        memory = self.settings.max_memory
        result = self.work.fit(folder, plan, memory=memory, tell=self.reports.tell)
        made = self._register(asked, parent, folder, result)
        canary = self._canary_of(made)
        if canary is None:
            self._admit(made, result)
            canary = self._begin_canary(made, result)
        files.forget(folder)
        said = "" if canary is None else f"; canary {canary} began"
        return f"{made.model} is admitted{said}"

    def _get(self, path: str, shape: Any) -> Any:
        return msgspec.convert(patiently(lambda: self.work.api.get(path)), shape)

    def _folder(self, weights: ParentWeights, *, again: bool) -> Path:
        """Return the folder of this request under these settings: others' files do not count."""
        watched = replace(
            self.settings,
            teacher_key="",
            into=Path(),
            load=True,
            then=AfterAdmission.NOTHING,
            max_time=timedelta(),
            max_memory=0,
        )
        told = f"{sorted(asdict(watched).items())}{weights}"
        key = hashlib.sha256(told.encode()).hexdigest()[:12]
        folder = self.work.root / ".work" / f"{self.request}-{key}"
        if again:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _mix(self, asked: Asked, parent: ParentVersion, folder: Path) -> MixedExamples:
        """Gather texts and answers, and mix them with earlier training."""
        gathering = Gathering(
            api=self.work.api,
            http=self.work.http,
            settings=self.settings,
            folder=folder,
            request=self.request,
            tell=self.reports.tell,
        )
        self.reports.at("texts")
        texts = gathering.texts(unlike=asked.below is not None)
        self.reports.at("labels")
        labelled = gathering.labelled(texts)
        self.reports.at("mix")
        share = self.settings.replay
        mixed = mix(
            labelled,
            self._earlier(parent),
            share=asked.replay_share if share is None else share,
            held_out=self.settings.held_out,
            seed=self.settings.seed,
        )
        for name, part in (
            (files.TRAINING, [*mixed.new, *mixed.replayed]),
            (files.HELD_OUT, mixed.held_out),
            (files.EARLIER, mixed.earlier),
        ):
            examples.write(folder / name, part)
        self.reports.tell(
            1.0, f"{len(mixed.new):,} new examples, {len(mixed.replayed):,} of earlier training"
        )
        return mixed

    def _earlier(self, parent: ParentVersion) -> list[examples.Example]:
        """Read what the parent was trained on; raises :class:`TrainingRefused` without it."""
        named = self.settings.training
        if named:
            adapter, version = one_part(parent.adapter), one_part(parent.version)
            place = Path(named.format(adapter=adapter, version=version))
            return [one for one in examples.distinct(examples.read(place)) if one.answered]
        if self.settings.replay == 0:
            return []
        raise TrainingRefused(
            "trainer.training names no file of earlier examples to mix in; set trainer.replay = 0"
            " to train without, which forgets"
        )

    def _register(
        self, asked: Asked, parent: ParentVersion, folder: Path, result: FitResult
    ) -> MadeVersion:
        """Put the adapter where engines find it, and register it with what it was made of."""
        self.reports.at("register")
        path = folder / files.MADE
        if path.exists():
            made = msgspec.json.decode(path.read_bytes(), type=MadeVersion)
        else:
            made = self._named(asked)
            files.written(path, msgspec.json.encode(made))
        place = Path(made.folder)
        if not place.exists():
            draft = place.with_name(f".{place.name}.part")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(folder / files.ADAPTER, draft)
            draft.rename(place)
        with opened_adapter(place) as adapter:
            identity = adapter.identity
        body = {
            "parent": asked.version,
            "uri": str(place),
            "sha256": identity,
            "base_model": parent.base_model,
            "base_revision": parent.base_revision,
            "training_data_hash": _hash_of(folder),
            "hyper_parameters": self._described(asked),
            "metrics": _measured(result),
        }
        patiently(lambda: self.work.api.put(made.path, body))
        self.reports.tell(1.0, f"{made.model}: {_gain(result)}", made=made.version)
        return made

    def _named(self, asked: Asked) -> MadeVersion:
        """Return the first free name of a new version, and its folder."""
        name = self.settings.version.format(parent=asked.version, request=asked.retraining)
        path = f"/adapters/{quote(asked.adapter, safe='')}"
        known = patiently(lambda: self.work.api.get(path))["versions"]
        root = self.work.root / one_part(asked.adapter)
        root.mkdir(parents=True, exist_ok=True)
        taken = {one["version"] for one in known}
        tries = (name if number == 1 else f"{name}.{number}" for number in count(1))
        free = next(
            one for one in tries if one not in taken and not (root / one_part(one)).exists()
        )
        folder = str(root / one_part(free))
        return MadeVersion(adapter=asked.adapter, version=free, folder=folder)

    def _described(self, asked: Asked) -> dict[str, Any]:
        names = ("epochs", "learning_rate", "batch", "context", "seed", "labels", "held_out")
        share = self.settings.replay
        return {
            **{name: getattr(self.settings, name) for name in names},
            "replay": asked.replay_share if share is None else share,
            "teacher": self.settings.teacher_model,
        }

    def _admit(self, made: MadeVersion, result: FitResult) -> None:
        """Have the version checked; raises :class:`TrainingRefused` where it does not pass."""
        self.reports.at("admit")
        if self.settings.load:
            self.work.engines.load(made.model, Path(made.folder), alive=self.reports.alive)
        path = f"{made.path}/admission"
        given = {
            name: msgspec.to_builtins(getattr(result, name))
            for name in ("training", "held_out", "earlier")
        }
        found = self._asked_once(path, given)
        ends = time.monotonic() + ADMISSION_S
        while found["state"] in _UNDER_WAY:
            if time.monotonic() > ends:
                raise TrainingFailed(f"{made.model} was not checked within an hour")
            self.reports.tell(0.0, f"{made.model} is {found['state']}")
            time.sleep(POLL_S)
            found = patiently(lambda: self.work.api.get(path))
        if found["state"] != "done":
            raise TrainingFailed(f"{made.model} could not be checked: {found['error']}")
        if found["verdict"] not in _ADMITTED:
            raise TrainingRefused(f"{made.model} is refused: {_refusals(found)}")

    def _asked_once(self, path: str, given: Mapping[str, Any]) -> Any:
        """Ask for an admission, unless one is under way: a call whose answer was lost counts."""

        def ask() -> Any:
            try:
                known = self.work.api.get(path)
            except TrainingFailed:  # it was never checked
                known = None
            if known is not None and known["state"] in _UNDER_WAY:
                return known
            return self.work.api.post(path, given)

        return patiently(ask)

    def _begin_canary(self, made: MadeVersion, result: FitResult) -> int | None:
        """Begin a canary, where the settings say so; return its number."""
        if self.settings.then is not AfterAdmission.CANARY:
            return None
        if len(result.earlier) < FEWEST:
            raise TrainingRefused(
                f"{made.model} is admitted, but with {len(result.earlier)} earlier texts nobody"
                f" knows what it forgot ({FEWEST} are needed): it goes on no trial by itself"
            )
        self.reports.at("canary")
        body = {"adapter": made.adapter, "version": made.version}

        def begin() -> int:
            known = self._canary_of(made)
            return known or int(self.work.api.post("/canaries", body)["canary"])

        return int(patiently(begin))

    def _canary_of(self, made: MadeVersion) -> int | None:
        """Return the newest canary, if it is one of this version."""
        found = patiently(lambda: self.work.api.get("/canaries", adapter=made.adapter, limit=1))
        newest = next(iter(found["items"]), None)
        if newest is None or newest["version"] != made.version:
            return None
        return int(newest["canary"])


def _lock(held: IO[str], root: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TrainingFailed(f"another worker trains in {root}") from None


def _hash_of(folder: Path) -> str:
    """Return the hash of all examples, held out ones too."""
    names = (files.TRAINING, files.HELD_OUT, files.EARLIER)
    sums = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names)
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _measured(result: FitResult) -> dict[str, Any]:
    names = ("parent_nll", "held_out_nll", "steps", "examples", "left_out", "seconds")
    return {name: getattr(result, name) for name in names}


def _gain(result: FitResult) -> str:
    return (
        f"held-out answers cost {result.held_out_nll:.3f} nats per token,"
        f" its parent {result.parent_nll:.3f}"
    )


def _refusals(found: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{one['name']}: {one['reason']}" for one in found["checks"] if one["verdict"] == "refuse"
    )
