"""Compare answers with training texts by keyed hashes of their words. Pure.

A text is a row of windows of 24 words. Of each 14 windows in a row one is chosen by its content,
alike in every text, and hashed under a key. So two texts that share a run of 37 words, some 50
tokens of English, share a hash; and those that share a hash share 24 words. Case, punctuation and
white space do not count. In scripts without spaces each character is a word.

Schleimer, Wilkerson, Aiken: Winnowing, SIGMOD 2003.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from monitor.capture.terms import UNSPACED

WINDOW: Final = 24
STRIDE: Final = 14
MOST_HASHES: Final = 1_000_000
"""Of the training texts of one reference: 8 MB, some seven million words."""
MOST_WORDS: Final = 16_384
"""Words of a text that are read, from its beginning."""

_WORD: Final = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_BASE: Final = 0xD6E8FEB86659FD93
_PERSON: Final = b"shingles"

Hashes = npt.NDArray[np.uint64]


def kept(texts: Iterable[str], *, key: bytes) -> bytes:
    """Return the distinct hashes of training texts, in ascending order, eight bytes each.

    Without the key a hash reveals nothing; with it a guess of 24 words can be tested.
    """
    hashes = [_hashes(text, key) for text in texts]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *hashes])).astype("<u8").tobytes()


class TrainingShingles:
    """The training texts of a version, as hashes. ``parts`` are results of :func:`kept`."""

    def __init__(self, parts: Sequence[bytes], *, key: bytes) -> None:
        self._known = np.unique(np.frombuffer(b"".join(parts), dtype="<u8"))
        self._key = key

    def __len__(self) -> int:
        return int(self._known.size)

    def repeated_in(self, answer: str) -> bool:
        """Tell whether an answer repeats a training text.

        Cost: about 150 microseconds for 200 words.
        """
        hashes = _hashes(answer, self._key)
        if not hashes.size or not self._known.size:
            return False
        place = np.minimum(np.searchsorted(self._known, hashes), self._known.size - 1)
        return bool((self._known[place] == hashes).any())


def _hashes(text: str, key: bytes) -> Hashes:
    """Hash the chosen windows under the key: the rolling hash alone would give it away."""
    found = _chosen(_windows(text)).tolist()
    return np.array([_under(key, one) for one in found], np.uint64)


def _under(key: bytes, window: int) -> int:
    digest = hashlib.blake2b(window.to_bytes(8, "little"), key=key, digest_size=8, person=_PERSON)
    return int.from_bytes(digest.digest(), "little")


def _chosen(windows: Hashes) -> Hashes:
    """Choose the smallest of each 14 windows in a row, or of all where there are fewer."""
    if not windows.size:
        return windows
    rows = sliding_window_view(windows, min(STRIDE, windows.size))
    return np.unique(rows.min(axis=1))


def _windows(text: str) -> Hashes:
    """Hash every window of 24 words: a polynomial, modulo 2^64."""
    words = _WORD.findall(text.casefold())[:MOST_WORDS]
    count = len(words) - WINDOW + 1
    if count < 1:
        return np.empty(0, np.uint64)
    codes = (zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words)
    values = np.fromiter(codes, np.uint64, len(words)) * _ODD
    values ^= values >> np.uint64(32)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * _POWERS[: len(words)])])
    hashes = (sums[WINDOW:] - sums[:-WINDOW]) * _INVERSE[:count] * _ODD
    mixed: Hashes = hashes ^ (hashes >> np.uint64(29))
    return mixed


def _ascending(base: int) -> Hashes:
    """Return the powers of a base, from the zeroth."""
    powers = np.full(MOST_WORDS, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers)


_POWERS: Final = _ascending(_BASE)
_INVERSE: Final = _ascending(pow(_BASE, -1, 1 << 64))
