"""Clients ask in another manner; what they ask, models and engine are as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from benchmarks.adapters.ways.way import Ask, ChangesAsk, Expected, Moment, OfClients, Way

FAMILY: Final = "clients"
IMPATIENT: Final = 2.0
"""Seconds."""


def temperature(ask: Ask, _: Moment) -> Ask:
    """Clients sample wider."""
    return replace(ask, body={**ask.body, "temperature": 1.3})


def max_tokens(ask: Ask, _: Moment) -> Ask:
    """Clients allow a third of the tokens."""
    return replace(ask, body={**ask.body, "max_tokens": 6})


def stop_words(ask: Ask, _: Moment) -> Ask:
    """Clients stop at the first full stop."""
    return replace(ask, body={**ask.body, "stop": ["."]})


def retries(ask: Ask, _: Moment) -> Ask:
    """Clients send each request twice."""
    return replace(ask, times=2)


def timeouts(ask: Ask, _: Moment) -> Ask:
    """Clients hang up early."""
    return replace(ask, patience_s=IMPATIENT)


def _way(name: str, says: str, change: ChangesAsk) -> Way:
    return Way(
        name=name,
        family=FAMILY,
        says=says,
        fault=OfClients(change=change),
        expected=Expected(seen=False, blame=("input",)),
    )


WAYS: Final = (
    _way("temperature", "clients ask at temperature 1.3 in place of .7", temperature),
    _way("max-tokens", "clients allow 6 tokens in place of 16", max_tokens),
    _way("stop-words", "clients stop answers at the first full stop", stop_words),
    _way("retries", "clients send each request twice", retries),
    _way("timeouts", "clients hang up after 2 s", timeouts),
)
