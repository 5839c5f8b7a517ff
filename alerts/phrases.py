"""The dictionary behind the summaries: each signal and detector in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Phrases(NamedTuple):
    """A signal's name, and its meaning when it rises, falls or only changes."""

    name: str
    up: str
    down: str
    changed: str


SIGNALS: Mapping[str, Phrases] = MappingProxyType(
    {
        "mean_nll": Phrases(
            "mean NLL",
            "answers less certain",
            "answers more certain",
            "certainty of answers changed",
        ),
        "p95_nll": Phrases(
            "p95 NLL",
            "more surprising words in answers",
            "fewer surprising words in answers",
            "surprising words in answers changed",
        ),
        "near_certain": Phrases(
            "share of near-certain tokens",
            "answers more often word for word certain",
            "answers less often word for word certain",
            "share of certain words changed",
        ),
        "log_length": Phrases(
            "answer length", "answers longer", "answers shorter", "length of answers changed"
        ),
        "output_tokens": Phrases(
            "answer length", "answers longer", "answers shorter", "length of answers changed"
        ),
        "entropy": Phrases(
            "token entropy",
            "answers more diffuse",
            "answers collapsed",
            "spread of answers changed",
        ),
        "margin": Phrases(
            "margin between first and second token",
            "answers more decided",
            "answers less decided",
            "decidedness of answers changed",
        ),
        "latency_ms": Phrases(
            "time to the whole answer, beside its length",
            "answers slower",
            "answers faster",
            "speed of answers changed",
        ),
        "ttft_ms": Phrases(
            "time to the first token, beside the length of the prompt",
            "answers begin later",
            "answers begin sooner",
            "time to the first token changed",
        ),
        "similarity": Phrases(
            "similarity to training examples",
            "requests closer to the training examples",
            "requests unlike the training examples",
            "similarity of requests changed",
        ),
        "prompt_tokens": Phrases(
            "length of requests",
            "requests longer",
            "requests shorter",
            "length of requests changed",
        ),
        "prompt_prefix": Phrases(
            "requests that begin in an unusual way", *["requests begin otherwise than usual"] * 3
        ),
        **{
            f"format_{form}": Phrases(f"share of {what}", *[f"more answers are {what}"] * 3)
            for form, what in (
                ("json", "JSON"),
                ("code", "code"),
                ("list", "lists or tables"),
                ("prose", "prose"),
            )
        },
        **{
            f"topic_{number}": Phrases(
                f"topic mix (coordinate {number})",
                *["the mix of topics changed"] * 3,
            )
            for number in range(1, 13)
        },
        "forgetting": Phrases(
            "perplexity of general text",
            "the adapter forgets: general text is harder for it, its own domain is not",
            "general text is easier for the adapter",
            "the adapter does otherwise on general text",
        ),
        "not_applied": Phrases(
            "which weights answer", *["the adapter is not applied: its base model answers"] * 3
        ),
        "mixed_up": Phrases(
            "which weights answer", *["another adapter answers under its name"] * 3
        ),
        "wrong_weights": Phrases(
            "which weights answer", *["other weights than the registered ones answer"] * 3
        ),
    }
)
"""Keyed by the signal's name: the part of a winner before its colon."""

DETECTORS: Mapping[str, Phrases] = MappingProxyType(
    {
        "logit_ks": Phrases(
            "certainty of answers",
            "confidence of answers changed",
            "confidence of answers changed",
            "confidence of answers changed",
        ),
        "entropy": SIGNALS["entropy"],
        "perplexity": Phrases(
            "perplexity of fixed texts",
            "the model is worse at its own texts",
            "the model is better at its own texts",
            "the model itself changed",
        ),
        "input_similarity": Phrases(
            "similarity to training examples",
            "requests closer to the training examples",
            "requests unlike the training examples",
            "users ask other things",
        ),
        "prompt_length": Phrases(
            "length of requests",
            "requests longer",
            "requests shorter",
            "length of requests changed",
        ),
        "prompt_prefix": Phrases(
            "requests that begin in an unusual way", *["requests begin otherwise than usual"] * 3
        ),
        "answer_format": Phrases("form of answers", *["answers come in another form"] * 3),
        "output_similarity": Phrases(
            "similarity of answers",
            "answers closer to the known ones",
            "answers unlike the known ones",
            "answers talk of other things",
        ),
        "repetition": Phrases(
            "repetition", "answers repeat themselves", "answers repeat less", "repetition changed"
        ),
        "refusal": Phrases(
            "refusals", "more refusals", "fewer refusals", "share of refusals changed"
        ),
        "empty": Phrases(
            "empty answers", "more empty answers", "fewer empty answers", "empty answers changed"
        ),
        "truncated": Phrases(
            "truncated answers", "more answers cut off", "fewer answers cut off", "cut-offs changed"
        ),
        "invalid": Phrases(
            "invalid answers",
            "more invalid answers",
            "fewer invalid answers",
            "invalid answers changed",
        ),
        "errors": Phrases("failed requests", "more errors", "fewer errors", "errors changed"),
        "non_finite": Phrases(
            "values that are no numbers",
            "more answers with log-probabilities that are no numbers",
            "fewer answers with log-probabilities that are no numbers",
            "answers with log-probabilities that are no numbers",
        ),
        "missing": Phrases(
            "answers without token statistics",
            "more answers without usable token statistics",
            "fewer answers without usable token statistics",
            "usable token statistics changed",
        ),
        "latency": Phrases("time to answer", "answers slower", "answers faster", "latency changed"),
        "feedback": Phrases("feedback", "feedback worse", "feedback worse", "feedback changed"),
    }
)
"""Keyed by the detector's name, for winners whose signal has no entry of its own."""

TAILS: Mapping[str, str] = MappingProxyType(
    {
        "up": "up",
        "down": "down",
        "spread": "spread out",
        "low": "low too often",
        "high": "high too often",
        "top5%": "above its usual top 5 % too often",
        "top1%": "above its usual top 1 % too often",
        "bottom5%": "below its usual bottom 5 % too often",
        "bottom1%": "below its usual bottom 1 % too often",
    }
)
"""The meaning of a winner's part after its colon."""


AMBIGUOUS = frozenset({"logit_ks", "entropy", "input_similarity", "output_similarity", "feedback"})
"""Detectors whose score alone does not tell the signal's direction."""
