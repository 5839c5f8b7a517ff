"""Turn a request of spans into records, one by one: a bad span does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from monitor.capture.parse import Rejected, explain
from monitor.capture.surrogates import whole
from monitor.capture.telemetry.calls import Call, call_of
from monitor.capture.telemetry.names import TelemetrySettings
from monitor.capture.telemetry.otlp import spans
from monitor.capture.wire import Record
from monitor.served_names import plain_name

NOUN = "spans"

msgspec.json.Decoder(Record)  # threads that first convert to it at once would crash


def records(
    body: bytes,
    *,
    content_type: str,
    settings: TelemetrySettings,
    is_adapter: Callable[[str], bool],
) -> Iterator[tuple[int, Record] | Rejected]:
    """Read the calls among a body's spans, each with its place; other spans are passed over.

    A span whose model is neither a version's name nor a registered adapter's is of another model,
    and passed over too. Raises a ``CaptureError`` if the body cannot be read at all.
    """
    for index, span in enumerate(spans(body, content_type=content_type)):
        if isinstance(span, Rejected):
            yield span
            continue
        try:
            call = call_of(span)
            named = None if call is None else _named(call, settings, is_adapter)
            if named is not None:
                yield index, msgspec.convert(whole(named), Record)
        except (msgspec.ValidationError, RecursionError) as error:
            yield Rejected(index=index, error=explain(str(error), f"{NOUN}[{index}]", Record))


def _named(
    call: Call, settings: TelemetrySettings, is_adapter: Callable[[str], bool]
) -> dict[str, object] | None:
    """Return a call's fields with its adapter and version; None if it is of no adapter."""
    if "adapter" in call.fields:
        return call.fields
    for model in call.models:
        if (split := settings.split(model)) is not None:
            adapter, version = split
            return {"adapter": adapter, "version": version, **call.fields}
    found = next(filter(is_adapter, map(plain_name, call.models)), None)
    return None if found is None else {"adapter": found, **call.fields}
