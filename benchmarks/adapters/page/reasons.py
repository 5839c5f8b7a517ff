"""Why a way is not seen, where it is known: written by people, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "new-topic-5": "3 of 60 questions were new; the evidence stayed far below its line",
        "new-topic-20": "12 of 60 questions were new; the evidence stayed far below its line",
    }
)
