"""Drift detectors: pure numpy and scipy, no I/O, no clock, no logging, no randomness.

A new detector is one file and one entry in :data:`DETECTORS`. `perplexity` is not in the
table: it compares runs over a fixed corpus, not windows of live records
(:mod:`detectors.perplexity`).

Modules use ``import scipy`` and ``scipy.special.name``: SciPy loads a part on first use, so only a
process that scores pays for it (24 MB, .15 s).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from detectors.answer_format import ANSWER_FORMAT
from detectors.empty import EMPTY
from detectors.entropy import ENTROPY
from detectors.error_rate import ERRORS
from detectors.feedback import FEEDBACK
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.invalid import INVALID
from detectors.latency import LATENCY
from detectors.logit_ks import LOGIT_KS
from detectors.missing import MISSING
from detectors.non_finite import NON_FINITE
from detectors.output_similarity import OUTPUT_SIMILARITY
from detectors.prompt_length import PROMPT_LENGTH
from detectors.prompt_prefix import PROMPT_PREFIX
from detectors.refusal import REFUSAL
from detectors.repetition import REPETITION
from detectors.truncated import TRUNCATED
from detectors.types import Detector

DETECTORS: Mapping[str, Detector[Any]] = MappingProxyType(
    {
        detector.name: detector
        for detector in (
            LOGIT_KS,
            ENTROPY,
            INPUT_SIMILARITY,
            PROMPT_LENGTH,
            PROMPT_PREFIX,
            OUTPUT_SIMILARITY,
            ANSWER_FORMAT,
            REPETITION,
            EMPTY,
            ERRORS,
            NON_FINITE,
            TRUNCATED,
            REFUSAL,
            INVALID,
            MISSING,
            LATENCY,
            FEEDBACK,
        )
    }
)

__all__ = ["DETECTORS"]
