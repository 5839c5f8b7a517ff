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
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote
from uuid import uuid4

import msgspec

from alerts.outgoing import OutgoingClient
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.trainer import examples, fit
from monitor.trainer import plan as files
from monitor.trainer.errors import (
    ServiceAway,
    TrainingError,
    TrainingFailed,
    TrainingLost,
    TrainingRefused,
)
from monitor.trainer.fit import ParentVersion
from monitor.trainer.gathering import Api, Gathering
from monitor.trainer.mixing import mix
from monitor.trainer.plan import FitResult
from monitor.trainer.serving import TrainerEngines
from monitor.trainer.settings import AfterAdmission, TrainerSettings

REPORT_S: Final = 5.0
"""Between two reports of one step."""
PATIENCE_S: Final = 900.0
"""How long the service may be away before a training is given up."""
POLL_S: Final = 1.0
ADMISSION_S: Final = 3600.0
MADE: Final = "made.json"
_UNDER_WAY: Final = frozenset({"waiting", "running"})
_ADMITTED: Final = frozenset({"pass", "warn"})


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as the service describes it."""

    retraining: int
    adapter: str
    version: str
    below: float | None
    replay_share: float


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A training, as the service describes it."""

    epoch: int


class MadeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a training made."""

    adapter: str
    version: str
    folder: str

    @property
    def model(self) -> str:
        """The name that engines serve it under."""
        return f"{self.adapter}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a training ended: ``state`` is ``done``, or ``refused``."""

    state: str
    note: str
    made: str | None


@dataclass(kw_only=True)
class TrainerWork:
    """Trains requests, one at a time on this machine.

    Parameters
    ----------
    show
        Is told of every step, with how far it is in [0, 1].
    fit
        Trains, as :func:`monitor.trainer.fit.fit` does.
    """

    api: Api
    http: OutgoingClient
    engines: TrainerEngines
    settings: TrainerSettings
    show: Callable[[str, float, str], None]
    fit: Callable[..., FitResult] = fit.fit
    _step: str = "texts"
    _epoch: int = 0
    _said: tuple[str, float] = ("", 0.0)
    _away: float | None = None
    _request: int = 0
    _made: str | None = field(default=None)

    def train(self, request: int, *, again: bool = False) -> Ended:
        """Train a request to its end.

        Raises
        ------
        TrainingFailed
            Something was not there, or broke; beginning again goes on where it was.
        TrainingLost
            Another worker has it, or a person cancelled it.
        """
        with self._alone() as worker:
            self._begin(request, worker=worker, again=again)
            try:
                note = self._steps(again=again)
            except TrainingLost:
                raise
            except TrainingRefused as refused:
                self._end("refused", str(refused))
                return Ended(state="refused", note=str(refused), made=self._made)
            except TrainingError as error:
                self._end("failed", str(error))
                raise
            except BaseException as error:
                self._end("failed", f"the worker ended: {type(error).__name__}")
                raise
            self._end("done", note)
            return Ended(state="done", note=note, made=self._made)

    @contextmanager
    def _alone(self) -> Iterator[str]:
        """Hold the folder of all trainings, and return this worker's name."""
        root = self.settings.into.expanduser().resolve() / ".work"
        root.mkdir(parents=True, exist_ok=True)
        with (root / "lock").open("a+", encoding="utf-8") as held:
            _lock(held, root)
            held.seek(0)
            name = held.read() or f"{socket.gethostname()}-{uuid4().hex[:8]}"
            held.seek(0)
            held.truncate()
            held.write(name)
            held.flush()
            yield name

    def _begin(self, request: int, *, worker: str, again: bool) -> None:
        body = {"worker": worker, "again": again}
        begun = msgspec.convert(self.api.post(f"/retraining/{request}/training", body), Begun)
        self._request, self._epoch, self._made = request, begun.epoch, None
        self._said, self._away = ("", 0.0), None

    def _steps(self, *, again: bool) -> str:
        request = self._once(lambda: self.api.get(f"/retraining/{self._request}"))
        asked = msgspec.convert(request, Asked)
        parent = self._parent(asked)
        folder = self._folder(again=again)
        self._mix(asked, parent, folder)
        self._at("train")
        plan = fit.planned(self.settings, parent, data=_hash_of(folder))
        result = self.fit(folder, plan, memory=self.settings.max_memory, tell=self._tell)
        made = self._register(asked, folder, result)
        self._admit(made, result)
        if self.settings.then is not AfterAdmission.CANARY:
            return f"{made.model} is admitted"
        return f"{made.model} is admitted; canary {self._canary(made)} began"

    def _folder(self, *, again: bool) -> Path:
        folder = self.settings.into.expanduser().resolve() / ".work" / str(self._request)
        if again:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _parent(self, asked: Asked) -> ParentVersion:
        path = f"{_versions(asked.adapter)}/{quote(asked.version, safe='')}"
        return msgspec.convert(self._once(lambda: self.api.get(path)), ParentVersion)

    def _mix(self, asked: Asked, parent: ParentVersion, folder: Path) -> None:
        """Gather texts and answers, and mix them with earlier training."""
        gathering = Gathering(
            api=self.api,
            http=self.http,
            settings=self.settings,
            folder=folder,
            request=self._request,
            tell=self._tell,
        )
        self._at("texts")
        texts = gathering.texts(unlike=asked.below is not None)
        self._at("labels")
        labelled = examples.distinct(gathering.labelled(texts))
        self._at("mix")
        earlier = self._earlier(parent)
        share = self.settings.replay
        mixed = mix(
            labelled,
            earlier,
            share=asked.replay_share if share is None else share,
            held_out=self.settings.held_out,
            seed=self.settings.seed,
        )
        for name, part in (
            (files.TRAINING, mixed.training),
            (files.HELD_OUT, mixed.held_out),
            (files.EARLIER, mixed.earlier),
        ):
            examples.write(folder / name, part)
        self._tell(1.0, f"{mixed.new:,} new examples, {mixed.replayed:,} of earlier training")

    def _earlier(self, parent: ParentVersion) -> list[examples.Example]:
        """Read what the parent was trained on; raises :class:`TrainingRefused` without it."""
        named = self.settings.training
        if named:
            place = Path(named.format(adapter=parent.adapter, version=parent.version))
            return [one for one in examples.distinct(examples.read(place)) if one.answered]
        if self.settings.replay == 0:
            return []
        raise TrainingRefused(
            "trainer.training names no file of earlier examples to mix in; set trainer.replay = 0"
            " to train without, which forgets"
        )

    def _register(self, asked: Asked, folder: Path, result: FitResult) -> MadeVersion:
        """Put the adapter where engines find it, and register it with what it was made of."""
        self._at("register")
        path = folder / MADE
        if path.exists():
            made = msgspec.json.decode(path.read_bytes(), type=MadeVersion)
        else:
            made = self._named(asked)
            path.write_bytes(msgspec.json.encode(made))
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
            "training_data_hash": _sha256(folder / files.TRAINING),
            "hyper_parameters": self._described(),
            "metrics": _measured(result),
        }
        where = f"{_versions(made.adapter)}/{quote(made.version, safe='')}"
        self._once(lambda: self.api.put(where, body))
        self._made = made.version
        self._tell(1.0, f"{made.model}: {_gain(result)}")
        return made

    def _named(self, asked: Asked) -> MadeVersion:
        """Return the first free name of a new version, and its folder."""
        name = self.settings.version.format(parent=asked.version, request=asked.retraining)
        root = self.settings.into.expanduser().resolve() / asked.adapter.replace("/", "_")
        root.mkdir(parents=True, exist_ok=True)
        taken = {one.name for one in root.iterdir()}
        tries = (name if n == 1 else f"{name}.{n}" for n in range(1, len(taken) + 2))
        free = next(one for one in tries if one not in taken)
        return MadeVersion(adapter=asked.adapter, version=free, folder=str(root / free))

    def _described(self) -> dict[str, Any]:
        names = ("epochs", "learning_rate", "batch", "context", "seed", "labels")
        return {name: getattr(self.settings, name) for name in names}

    def _admit(self, made: MadeVersion, result: FitResult) -> None:
        """Have the version checked; raises :class:`TrainingRefused` where it does not pass."""
        self._at("admit")
        if self.settings.load:
            self.engines.load(made.model, Path(made.folder))
        path = f"{_versions(made.adapter)}/{quote(made.version, safe='')}/admission"
        given = {
            "training": result.training,
            "held_out": result.held_out,
            "earlier": result.earlier,
        }
        found = self._under_way(path) or self._once(lambda: self.api.post(path, given))
        ends = time.monotonic() + ADMISSION_S
        while found["state"] in _UNDER_WAY:
            if time.monotonic() > ends:
                raise TrainingFailed(f"{made.model} was not checked within an hour")
            self._tell(0.0, f"{made.model} is {found['state']}")
            time.sleep(POLL_S)
            found = self._once(lambda: self.api.get(path))
        if found["state"] != "done":
            raise TrainingFailed(f"{made.model} could not be checked: {found['error']}")
        if found["verdict"] not in _ADMITTED:
            raise TrainingRefused(f"{made.model} is refused: {_refusals(found)}")

    def _under_way(self, path: str) -> Mapping[str, Any] | None:
        """Return the admission that a worker asked for before it was ended."""
        try:
            found: Mapping[str, Any] = self._once(lambda: self.api.get(path))
        except TrainingFailed:  # it was never checked
            return None
        return found if found["state"] in _UNDER_WAY else None

    def _canary(self, made: MadeVersion) -> int:
        """Begin a canary, unless one of this version is the newest: a worker began it before."""
        self._at("canary")
        known = self._once(lambda: self.api.get("/canaries", adapter=made.adapter, limit=1))
        if not known["items"] or known["items"][0]["version"] != made.version:
            body = {"adapter": made.adapter, "version": made.version}
            return int(self._once(lambda: self.api.post("/canaries", body))["canary"])
        return int(known["items"][0]["canary"])

    # --- the service --------------------------------------------------------------------

    def _at(self, step: str) -> None:
        """Begin a step."""
        self._step = step
        self._tell(0.0, "")

    def _tell(self, progress: float, note: str) -> None:
        """Say how far a step is; the service hears of it every few seconds."""
        self.show(self._step, progress, note)
        step, at = self._said
        now = time.monotonic()
        if step == self._step and now - at < REPORT_S:
            return
        self._said = (self._step, now)
        try:
            self._report({"state": "running", "progress": progress, "note": note})
        except ServiceAway:
            self._away = self._away or now
            if now - self._away > PATIENCE_S:
                raise
        else:
            self._away = None

    def _report(self, body: Mapping[str, Any]) -> None:
        """Report; raises :class:`TrainingLost` where it is not this worker's any more."""
        whole = {"epoch": self._epoch, "step": self._step, "made": self._made, **body}
        whole["note"] = str(whole["note"])[:500]
        try:
            self.api.put(f"/retraining/{self._request}/training", whole)
        except ServiceAway:
            raise
        except TrainingFailed as error:
            raise TrainingLost(str(error)) from None

    def _end(self, state: str, note: str) -> None:
        body = {"state": state, "progress": 1.0 if state == "done" else 0.0, "note": note}
        self._once(lambda: self._report(body))

    def _once(self, call: Callable[[], Any]) -> Any:
        """Make a call that must succeed, patiently where the service is away."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                return call()
            except ServiceAway:
                if time.monotonic() > ends:
                    raise
                time.sleep(REPORT_S)


def _lock(held: IO[str], root: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TrainingFailed(f"another worker trains in {root.parent}") from None


def _versions(adapter: str) -> str:
    return f"/adapters/{quote(adapter, safe='')}/versions"


def _hash_of(folder: Path) -> str:
    """Return the hash of all examples, held out ones too."""
    names = (files.TRAINING, files.HELD_OUT, files.EARLIER)
    return hashlib.sha256("".join(_sha256(folder / name) for name in names).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
