"""Decode stored numbers to numpy arrays, for every float format of adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]

SIZES: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1)
    | dict.fromkeys(("I16", "U16", "F16", "BF16"), 2)
    | dict.fromkeys(("I32", "U32", "F32"), 4)
    | dict.fromkeys(("I64", "U64", "F64", "C64"), 8)
)
"""Bytes per number, by the format's name of the type."""


def bf16(raw: bytes) -> Numbers:
    """A bfloat16 is the upper half of a float32.

    >>> print(bf16(bytes([0x80, 0x3F, 0xC0, 0xC0])))
    [ 1. -6.]
    """
    return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)


def e5m2(raw: bytes) -> Numbers:
    """A float8 e5m2 is the upper half of a float16.

    >>> print(e5m2(bytes([0x3C, 0xC6])))
    [ 1. -6.]
    """
    return (np.frombuffer(raw, np.uint8).astype(np.uint16) << 8).view(np.float16)


def e4m3(raw: bytes) -> Numbers:
    """A float8 e4m3 has no infinity: all bits set are NaN, and 448 is the largest.

    >>> print(e4m3(bytes([0x38, 0xCC, 0x7E, 0x7F, 0x01])))
    [ 1.000000e+00 -6.000000e+00  4.480000e+02           nan  1.953125e-03]
    """
    return _E4M3[np.frombuffer(raw, np.uint8)]


def _e4m3_table() -> Numbers:
    bits = np.arange(256)
    exponent, fraction = (bits >> 3) & 15, bits & 7
    # exponent 0 is subnormal: no hidden bit, and the step of exponent 1
    size = np.where(
        exponent == 0, fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7)
    )
    size[(bits & 127) == 127] = np.nan  # noqa: PLR2004 (all bits of exponent and fraction)
    return np.where(bits & 128, -size, size).astype(np.float32)


_E4M3: Final = _e4m3_table()

DECODERS: Final[Mapping[str, Callable[[bytes], Numbers]]] = MappingProxyType(
    {
        "F64": lambda raw: np.frombuffer(raw, "<f8"),
        "F32": lambda raw: np.frombuffer(raw, "<f4"),
        "F16": lambda raw: np.frombuffer(raw, "<f2"),
        "BF16": bf16,
        "F8_E4M3": e4m3,
        "F8_E5M2": e5m2,
    }
)
