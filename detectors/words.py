"""A detector's finding in everyday words."""

from __future__ import annotations

from detectors import profile_of
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
