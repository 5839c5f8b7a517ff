"""A detector's finding in everyday words."""

from __future__ import annotations

from detectors import DETECTORS, profile_of
from detectors.profile import Phrases
from detectors.signals import SIGNALS


def plain_words(detector: str, winner: str | None) -> str:
    """Describe the change in everyday words.

    >>> plain_words("logit_ks", "mean_nll:top1%")
    'answers less certain'
    >>> plain_words("repetition", None)
    'answers repeat themselves'
    >>> plain_words("tone", "tone_of_voice:up")
    'tone of voice up'
    """
    signal, direction = _split(winner)
    profile = profile_of(detector)
    of_signal = SIGNALS[signal].words if signal in SIGNALS else profile.findings.get(signal)
    phrases = of_signal or profile.words
    if phrases is None:
        return f"{_spaced(signal or detector)} {direction or 'changed'}"
    match direction:
        case "up":
            return phrases.up
        case "down":
            return phrases.down
        case _:
            # rates and ratios have one bad direction and name none: up is worse
            return phrases.changed if winner or profile.either_way else phrases.up


def name_words(detector: str) -> str:
    """Return what a detector measures, in a few words.

    >>> name_words("logit_ks"), name_words("tone_of_voice")
    ('certainty of answers', 'tone of voice')
    """
    words = profile_of(detector).words
    return words.name if words is not None else _spaced(detector)


def signal_words(signal: str) -> str:
    """Return the thing that a signal measures, as people call it.

    >>> signal_words("mean_nll"), signal_words("error"), signal_words("tone_of_voice")
    ('certainty of answers', 'errors', 'tone of voice')
    """
    phrases = _phrases(signal)
    return _spaced(signal) if phrases is None else phrases.changed.removesuffix(" changed")


def gloss_of(winner: str | None) -> str:
    """Explain what the winning signal measures; empty where its words explain themselves.

    >>> gloss_of("mean_nll:top1%")
    'Certainty is the probability that the model gives to the words it answers.'
    """
    known = SIGNALS.get(_split(winner)[0])
    return "" if known is None else known.gloss


def worse_words(signal: str) -> str:
    """Say that a signal rose of which more is worse.

    >>> worse_words("mean_nll"), worse_words("refusal"), worse_words("tone_of_voice")
    ('answers less certain', 'more refusals', 'tone of voice worse')
    """
    phrases = _phrases(signal)
    return phrases.up if phrases is not None else f"{_spaced(signal)} worse"


def _phrases(signal: str) -> Phrases | None:
    """Return a signal's own words, or those of the detector that reads it."""
    known = SIGNALS.get(signal)
    if known is not None and known.words is not None:
        return known.words
    readers = (one for one in DETECTORS.values() if signal in one.signals)
    return next((one.profile.words for one in readers), None)


def _split(winner: str | None) -> tuple[str, str]:
    """Split ``mean_nll:top1%`` into the signal and ``up``, ``down`` or nothing."""
    signal, _, tail = (winner or "").partition(":")
    if tail in {"up", "high"} or tail.startswith("top"):
        return signal, "up"
    if tail in {"down", "low"} or tail.startswith("bottom"):
        return signal, "down"
    return signal, ""


def _spaced(name: str) -> str:
    return name.replace("_", " ")
