"""Drift detectors: pure numpy and scipy, no I/O, no clock, no logging, no randomness.

A new detector is one file and one entry in the table: whatever the rules, the messages and the
pages need to know of it is its own :class:`detectors.profile.Profile`, and what they need to know
of the numbers that it reads stands in :mod:`detectors.signals`. `perplexity` is not in the table:
it compares runs over a fixed corpus, not windows of live records (:mod:`detectors.perplexity`).
It has a profile, because its scores stand beside those of detectors.

Modules use ``import scipy`` and ``scipy.special.name``: SciPy loads a part on first use, so only a
process that scores pays for it (24 MB, .15 s).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.answer_format import ANSWER_FORMAT
from detectors.detector import Detector
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
from detectors.perplexity import PERPLEXITY
from detectors.perplexity import PROFILE as PERPLEXITY_PROFILE
from detectors.profile import Profile
from detectors.prompt_length import PROMPT_LENGTH
from detectors.prompt_prefix import PROMPT_PREFIX
from detectors.refusal import REFUSAL
from detectors.repetition import REPETITION
from detectors.training_text import TRAINING_TEXT
from detectors.truncated import TRUNCATED

DETECTORS: Mapping[str, Detector[Any]] = {
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
        TRAINING_TEXT,
        TRUNCATED,
        REFUSAL,
        INVALID,
        MISSING,
        LATENCY,
        FEEDBACK,
    )
}


def profile_of(name: str) -> Profile:
    """Return what is known of a detector, or of the probe of fixed texts, by its name.

    A name in no table, such as that of a detector that was removed since, has no properties.
    """
    if name == PERPLEXITY:
        return PERPLEXITY_PROFILE
    return DETECTORS[name].profile if name in DETECTORS else Profile()


__all__ = ["DETECTORS", "profile_of"]
