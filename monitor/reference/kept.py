"""Store the baseline that a reference was fitted on, for replays. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from detectors import DETECTORS, packing
from detectors.rank_detector import RankDetector
from detectors.types import Window

MOST: Final = 65_536
"""The most records of a baseline that are stored, some 3 MB; a fortnight has 56,000."""
_KIND: Final = "baseline"


def pack(baseline: Window) -> bytes:
    """Pack the signals of the newest records, without texts and identities.

    Subjects become numbers of this baseline alone. Values are float32, as records are stored.
    """
    first = max(0, len(baseline) - MOST)
    arrays = {"at": baseline.at[first:]}
    if baseline.subjects is not None:
        subjects = baseline.subjects[first:]
        _, numbers = np.unique(subjects, return_inverse=True)
        arrays["subjects"] = np.where(subjects < 0, -1, numbers).astype(np.int32)
    for name in sorted(set(_read_by_detectors()) & baseline.signals.keys()):
        values = baseline.signals[name][first:]
        if np.isfinite(values).any():
            arrays[f"signal_{name}"] = values.astype(np.float32)
    return zlib.compress(packing.pack(_KIND, arrays), 1)


def unpack(body: bytes) -> Window:
    """Read what :func:`pack` wrote; raises ReferenceUnreadable."""
    return packing.read(_KIND, _inflated(body), _window)


def _read_by_detectors() -> Iterator[str]:
    for detector in DETECTORS.values():
        yield from detector.signals
        if isinstance(detector, RankDetector):
            for columns in detector.sizes.values():
                yield from columns


def _inflated(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error:
        return b""


def _window(arrays: packing.Arrays) -> Window:
    at = arrays["at"].astype(np.float64)
    subjects = arrays.get("subjects")
    return Window(
        start=float(at[0]),
        end=float(np.nextafter(at[-1], np.inf)),
        at=at,
        signals={
            name.removeprefix("signal_"): values.astype(np.float64)
            for name, values in arrays.items()
            if name.startswith("signal_")
        },
        subjects=None if subjects is None else subjects.astype(np.int64),
    )
