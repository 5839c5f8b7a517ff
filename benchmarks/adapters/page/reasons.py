"""Why a way is not seen, where it is known: written by people, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "new-topic-5": "three new questions in 60 are within the spread of the known ones",
        "new-topic-20": "twelve new questions in 60 are too few for the evidence of a ticket",
    }
)
