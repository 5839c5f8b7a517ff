"""Pack per-token numbers as base64 of little-endian float16, at a twentieth of JSON's cost."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

_LARGEST: Final = 65_504.0  # float16's largest finite value


def pack_f16(values: Sequence[float] | npt.NDArray[np.floating]) -> str:
    """Pack numbers for the ``_f16`` fields; infinities stay infinite, NaN stays NaN.

    >>> pack_f16([-0.5, -2.0])
    'ALgAwA=='
    """
    return base64.b64encode(_halves(values).tobytes()).decode("ascii")


def as_packed(values: Sequence[float | None] | npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Round numbers as packing would; None becomes NaN."""
    return _halves(values).astype(np.float32)


def _halves(values: Sequence[float | None] | npt.NDArray[np.floating]) -> npt.NDArray[np.float16]:
    wide = np.array(values, dtype=np.float64)
    finite = np.isfinite(wide)
    return np.where(finite, np.clip(wide, -_LARGEST, _LARGEST), wide).astype("<f2")


def unpack_f16(body: bytes) -> npt.NDArray[np.float32]:
    """Read the bytes of :func:`pack_f16` after base64; ``ValueError`` for an odd length."""
    if len(body) % 2:
        raise ValueError(f"{len(body)} bytes are not a whole number of float16 values")
    return np.frombuffer(body, dtype="<f2").astype(np.float32)
