"""Tell the service how far a training is, from a thread beside the work.

A step may take minutes without a word of its own: loading an adapter, reading a long manifest, a
slow teacher. The training stays this worker's meanwhile, and a person's word still ends it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from monitor.trainer.errors import ServiceAway, TrainingFailed, TrainingLost
from monitor.trainer.gathering import Api

REPORT_S: Final = 5.0
"""Between two reports."""
PATIENCE_S: Final = 900.0
"""How long the service may be away before a training is given up."""
LONGEST_NOTE: Final = 500

Show = Callable[[str, float, str], None]


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A training, as the service describes it."""

    epoch: int


class TrainingReports:
    """The reports of one training, from its begin to its end.

    Parameters
    ----------
    show
        Is told of every step, with how far it is in [0, 1].
    """

    def __init__(self, api: Api, request: int, *, show: Show) -> None:
        self._api = api
        self._path = f"/retraining/{request}/training"
        self._show = show
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="reports", daemon=True)
        self._epoch = 0
        self._told: dict[str, Any] = {"step": "texts", "progress": 0.0, "note": "", "made": None}
        self._lost: TrainingLost | None = None
        self._away: float | None = None

    def begin(self, *, worker: str, again: bool) -> None:
        """Take the request, and report from now on.

        Raises
        ------
        TrainingFailed
            Another worker has it, or it is over.
        """
        body = {"worker": worker, "again": again}
        self._epoch = msgspec.convert(
            patiently(lambda: self._api.post(self._path, body)), Begun
        ).epoch
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def made(self) -> str | None:
        """The name of the version that was made."""
        made: str | None = self._told["made"]
        return made

    def at(self, step: str) -> None:
        """Begin a step; the service hears of it at once."""
        with self._lock:
            self._told |= {"step": step, "progress": 0.0, "note": ""}
        self._show(step, 0.0, "")
        self._send()
        self.alive()

    def tell(self, progress: float, note: str, *, made: str | None = None) -> None:
        """Say how far the step is; raises as :meth:`alive`."""
        with self._lock:
            self._told |= {"progress": progress, "note": note}
            self._told["made"] = made or self._told["made"]
            step = self._told["step"]
        self._show(step, progress, note)
        self.alive()

    def alive(self) -> None:
        """Go on.

        Raises
        ------
        TrainingLost
            Another worker has it, or a person cancelled it.
        ServiceAway
            The service has not answered for 15 minutes.
        """
        if self._lost is not None:
            raise self._lost
        if self._away is not None and time.monotonic() - self._away > PATIENCE_S:
            raise ServiceAway("the service has not answered for 15 minutes")

    def end(self, state: str, note: str) -> None:
        """Report the end; one that the service knows already is fine."""
        with self:
            pass
        done = 1.0 if state == "done" else 0.0
        body = self._body({"state": state, "progress": done, "note": note})

        def send() -> None:
            try:
                self._api.put(self._path, body)
            except TrainingFailed as error:
                known = self._api.get(self._path.removesuffix("/training"))["training"]
                if known["state"] != state:
                    raise TrainingLost(str(error)) from None

        patiently(send)

    def _beat(self) -> None:
        while not self._over.wait(REPORT_S):
            self._send()

    def _send(self) -> None:
        with self._lock:
            try:
                self._api.put(self._path, self._body({"state": "running"}))
                self._away = None
            except ServiceAway:
                self._away = self._away or time.monotonic()
            except TrainingFailed as error:
                self._lost = TrainingLost(str(error))

    def _body(self, more: Mapping[str, Any]) -> dict[str, Any]:
        whole = {"epoch": self._epoch, **self._told, **more}
        plain = "".join(one if one.isprintable() else " " for one in str(whole["note"]))
        return whole | {"note": plain[:LONGEST_NOTE]}


def patiently(call: Callable[[], Any]) -> Any:
    """Make a call that may be repeated, for 15 minutes where the service is away."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except ServiceAway:
            if time.monotonic() > ends:
                raise
            time.sleep(REPORT_S)


# met here once: alerts/message.py says why
msgspec.json.Decoder(Begun)
