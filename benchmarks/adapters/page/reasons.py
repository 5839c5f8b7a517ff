"""Why a way is not seen, where it is known: written by people, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UNEXPLAINED = "not known yet"
"""Stands where a reason is owed."""
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "bots": "the repeated questions are known ones, and a repeated user counts once",
        "heavy-user": "the user's questions are known ones, and a repeated user counts once",
        "retries": "the same questions come twice, and their answers are as before",
        "timeouts": "clients that hang up leave no answer to look at, and the others are as before",
        "new-topic-5": "a share of 5 % takes 400 to 720 requests ([measured]"
        "(benchmarks.md#input-drift-on-real-texts))",
        "new-topic-20": "a share of 20 % takes 80 to 160 requests, or 280 to 520 of a kind near to"
        " what is known ([measured](benchmarks.md#input-drift-against-live-references))",
        "mix-shift": "the questions are known ones: that they come in another mix shows only in"
        " the coordinates of their embeddings, over hundreds of requests",
        "stale-prefix-cache": "records alone can show it, and their evidence stayed far below its"
        " line: a probe's texts are never read from the cache, because vLLM computes a prompt anew"
        " where its log-probabilities are asked for",
    }
)
"""Ways of which nothing was told."""
KEPT: Mapping[str, str] = MappingProxyType(
    {
        "factors-swapped": "over the five texts of its task the interval of its perplexity began"
        " below 0, and weights that nobody approved move traffic only where it begins above 0"
        " ([decision 51](decisions/0051-weights-that-nobody-approved-need-less-to-be-left.md));"
        " the records moved it later",
    }
)
"""Ways whose traffic stayed for longer than the goal allows."""
