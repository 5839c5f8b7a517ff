"""The answers to what other packages refuse, in one table: a handler lets such an error pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import Response

from alerts.silences import SilenceRefused
from monitor.api.problems import Problem, answer
from monitor.api.ranges import RangeRefused
from monitor.evaluate.newness import NotCompared
from monitor.evaluate.retraining import NotRequested
from monitor.incident.smoke import NotAskable
from monitor.outbox.acknowledging import NotOpen
from monitor.outbox.marking import NotMarkable
from monitor.reference.accept import NotApprovable
from monitor.traffic.trial.states import NotPossible

REFUSALS: Final[Mapping[type[Exception], tuple[int, str]]] = {
    NotApprovable: (409, "not-approvable"),
    NotAskable: (409, "not-askable"),
    NotCompared: (409, "not-compared"),
    NotMarkable: (409, "not-markable"),
    NotOpen: (409, "incident-not-open"),
    NotPossible: (409, "not-possible"),
    NotRequested: (409, "not-possible"),
    RangeRefused: (422, "invalid-request"),
    SilenceRefused: (422, "invalid-silence"),
}
"""Status and slug by error; the error's message is the detail."""


def install(app: FastAPI) -> None:
    """Answer each of them as a problem."""
    for kind in REFUSALS:
        app.add_exception_handler(kind, _on_refusal)


async def _on_refusal(request: Request, error: Exception) -> Response:
    status, kind = REFUSALS[type(error)]
    return answer(request, Problem(status, f"{str(error).removesuffix('.')}.", kind=kind))
