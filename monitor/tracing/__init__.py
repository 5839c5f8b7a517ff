"""Spans of Driftline's own work, for the OpenTelemetry collector that ``service.traces`` names.

Off, as by default, each function returns at once, and OpenTelemetry is not imported. Attributes are
names, numbers and outcomes: never a text, a query or a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alerts.outgoing import OutgoingClient
    from monitor.tracing.exporting import Tracing

_NOTHING: Final = nullcontext()


class TracesMissing(Exception):  # noqa: N818 (named as the outcome)
    """The packages that send traces are not installed."""


class _Process:
    """Holds what this process traces with; None: nothing."""

    tracing: Tracing | None = None


_PROCESS: Final = _Process()


def start(url: str, *, role: str, client: OutgoingClient) -> None:
    """Send spans to a collector from now on.

    Parameters
    ----------
    url
        Where it takes OTLP over HTTP; ``/v1/traces`` is added.
    role
        The part that this process plays.
    client
        May reach the collector.

    Raises
    ------
    TracesMissing
        As :func:`load` does.
    """
    _PROCESS.tracing = load()(url, role=role, client=client)


def load() -> type[Tracing]:
    """Import what opens and sends spans.

    Raises
    ------
    TracesMissing
        The extra ``traces`` is not installed, or a variable of the environment stops its import.
    """
    try:
        from monitor.tracing.exporting import Tracing  # noqa: PLC0415 (optional packages)
    except ModuleNotFoundError:
        raise TracesMissing(
            "service.traces: OpenTelemetry is not installed: pip install 'driftline[traces]'"
        ) from None
    except ValueError as error:  # it reads its limits from the environment as it is imported
        raise TracesMissing(
            f"service.traces: a variable OTEL_… of the environment: {error}"
        ) from None
    return Tracing


def stop(seconds: float) -> None:
    """Send what waits, for at most ``seconds``; then no more."""
    tracing, _PROCESS.tracing = _PROCESS.tracing, None
    if tracing is not None:
        tracing.stop(seconds)


def active() -> bool:
    """Return whether this process traces."""
    return _PROCESS.tracing is not None


def span(name: str, /, **attributes: str | int | None) -> AbstractContextManager[object]:
    """Open a span, a child of the one in whose context it is opened."""
    tracing = _PROCESS.tracing
    return _NOTHING if tracing is None else tracing.span(name, attributes)


def request(name: str, headers: Iterable[tuple[bytes, bytes]], /) -> AbstractContextManager[object]:
    """Open the span of a request that came in: a child of the one that its headers name."""
    tracing = _PROCESS.tracing
    return _NOTHING if tracing is None else tracing.request(name, headers)


def note(name: str = "", /, **attributes: str | int | None) -> None:
    """Add what became known to the open span, and give it another name unless that is empty.

    ``error``, and a ``status`` from 500 on, mark it as failed.
    """
    tracing = _PROCESS.tracing
    if tracing is not None:
        tracing.note(name, attributes)


def traceparent() -> str | None:
    """Return the header that makes another service's spans children of the open one."""
    tracing = _PROCESS.tracing
    return None if tracing is None else tracing.traceparent()
