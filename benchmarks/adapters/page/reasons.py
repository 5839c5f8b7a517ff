"""Why a way is not seen, where it is known: written by people, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "bots": "the repeated questions are known ones, and a repeated user counts once",
        "heavy-user": "the user's questions are known ones, and a repeated user counts once",
        "retries": "the same questions come twice, and their answers are as before",
        "timeouts": "clients that hang up leave no answer to look at",
        "new-topic-5": "3 of 60 questions were new; the evidence stayed far below its line",
        "new-topic-20": "12 of 60 questions were new; the evidence stayed far below its line",
    }
)
