"""Check that an engine scores the text that it was sent. Pure.

A server that wraps prompts in a template, cuts them, or scores its own generated text returns
numbers that look plausible. Its token names reveal it: together they must spell the text.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Final

from monitor.probes.prompt_logprobs import LARGEST_NLL, TextScore

_LONGEST_TOKEN: Final = 64
"""Characters that may be missing at the front: the first token is not scored."""
_UNKNOWN: Final = "\ufffd"
_MARKS: Final = str.maketrans("", "", "\u0120\u2581\u010a")
"""How vocabularies write a space or the end of a line in a token's raw name."""


def spelling_fault(shown: Sequence[str], text: str) -> str | None:
    """Say how the scored tokens differ from the text; None if they spell it.

    Parameters
    ----------
    shown
        Every token but the first, as text. Whitespace is ignored, a replacement character stands
        for part of any character, and one special token (``</s>``) at each end is the tokenizer's
        own.

    >>> spelling_fault([" brown", " fox"], "The brown fox")
    >>> spelling_fault(["user", ":", " The", " brown", " fox"], "The brown fox")
    'it has 11 characters without spaces, the scored tokens have 16'
    """
    whole = _bare(text)
    spelled = _bare("".join(_without_ends(shown, text)))
    if _spells(spelled, whole):
        return None
    if len(spelled) == len(whole):
        return f"the scored tokens have {len(spelled)} other characters"
    return f"it has {len(whole)} characters without spaces, the scored tokens have {len(spelled)}"


def answer_span(shown: Sequence[str], text: str, answer_at: int) -> slice:
    """Return which tokens of a text hold its answer; one that begins before the answer counts.

    A character may be split over several tokens, each shown as a replacement character.

    >>> answer_span([" it", " red", "?", " Y", "es", ".", "</s>"], "Is it red? Yes.", 10)
    slice(3, 6, None)
    """
    end = len(shown)
    if shown and _is_special(shown[-1]) and not text.rstrip().endswith(shown[-1]):
        end -= 1  # the tokenizer's own
    whole, boundary = _bare(text), len(_bare(text[:answer_at]))
    here = known = len(whole)
    first, run, unread = end, "", 0
    while first > 0 and here > boundary:
        token = shown[first - 1]
        if _UNKNOWN in token:
            known, run, unread = here, "", unread + len(token)
        else:
            run = token + run
            spelled = _bare(run)  # together: marks and letters may be one character
            here = known - len(spelled)
            if unread and spelled:
                found = whole.rfind(spelled, max(0, here - unread), known)
                here = here if found < 0 else found
                if here + len(spelled) <= boundary:
                    break  # the answer begins with characters that are split
                if found >= 0:
                    known, unread = found + len(spelled), 0
        first -= 1
    while first > 0 and text[answer_at : answer_at + 1].isspace() and shown[first - 1].isspace():
        first -= 1
    return slice(first, end)


def number_fault(score: TextScore) -> str | None:
    """Say why a score cannot be the likelihood of a text; None if it can."""
    if score.tokens == 0 or not math.isfinite(score.sum_nll):
        return "no token of it has a finite log-likelihood"
    mean = score.sum_nll / score.tokens
    if mean >= LARGEST_NLL or mean < 0:
        return f"its {score.tokens} tokens have {mean:.1f} nats each"
    return None


def _spells(spelled: str, whole: str) -> bool:
    """True if ``whole`` ends in ``spelled``, whose unknown characters match any."""
    end, first = len(whole), True
    for piece in reversed(spelled.split(_UNKNOWN)):
        start = end - len(piece) if first else whole.rfind(piece, 0, end)
        if start < 0 or not whole.startswith(piece, start):
            return False
        end, first = start, False
    unmatched = len(whole) - len(spelled.replace(_UNKNOWN, ""))
    return unmatched <= spelled.count(_UNKNOWN) + _LONGEST_TOKEN


def _without_ends(shown: Sequence[str], text: str) -> Sequence[str]:
    if shown and _is_special(shown[0]) and not text.lstrip().startswith(shown[0]):
        shown = shown[1:]
    if shown and _is_special(shown[-1]) and not text.rstrip().endswith(shown[-1]):
        shown = shown[:-1]
    return shown


def _is_special(token: str) -> bool:
    return len(token) > 2 and token.startswith("<") and token.endswith(">")  # noqa: PLR2004 - not "<>"


def _bare(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text.translate(_MARKS))
    return "".join(normal.split())
