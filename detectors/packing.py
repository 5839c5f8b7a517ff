"""Pack references as bytes: npz without pickle, with a kind and a version inside."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from detectors.day_effect import ASSUMED, DayEffect, Origin, Unknown, covered_share, older
from detectors.errors import ReferenceUnreadable
from detectors.null import Null, equal_weights
from detectors.season import SeasonCoverage
from detectors.types import Floats

Arrays = Mapping[str, npt.NDArray[Any]]
R = TypeVar("R")
VERSION = 1


def pack(kind: str, arrays: Arrays) -> bytes:
    """Pack named arrays; equal references give equal bytes."""
    body = io.BytesIO()
    head = {"kind": np.array(kind), "version": np.array(VERSION)}
    np.savez(body, allow_pickle=False, **head, **arrays)
    return body.getvalue()


def read(kind: str, body: bytes, build: Callable[[Arrays], R]) -> R:
    """Build a reference from the bytes of :func:`pack`.

    Raises
    ------
    ReferenceUnreadable
        The bytes are damaged, incomplete, or of another kind or version.
    """
    arrays = _unpack(kind, body)
    try:
        return build(arrays)
    except (KeyError, ValueError) as error:
        raise ReferenceUnreadable(f"an incomplete {kind} reference: {error}") from error


def _unpack(kind: str, body: bytes) -> Arrays:
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        found = (str(arrays["kind"]), int(arrays["version"]))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ReferenceUnreadable(f"not a stored reference: {error}") from error
    if found != (kind, VERSION):
        raise ReferenceUnreadable(f"holds {found[0]} version {found[1]}, not {kind} {VERSION}")
    return arrays


def null_arrays(null: Null) -> Arrays:
    """Name a null's arrays for :func:`pack`."""
    return {
        "names": np.array(null.names),
        "mean": null.mean,
        "sd": null.sd,
        "deff": null.deff,
        "upper": null.upper,
        "indicator": null.indicator,
        "units": null.units,
        "weights": null.weights,
        "shown_days": np.array(null.shown_days),
        **unknown_arrays(null),
    }


def read_null(arrays: Arrays) -> Null:
    """Build a null from what :func:`null_arrays` named; one without weights had equal ones."""
    names = words(arrays["names"])
    return Null(
        names=names,
        mean=arrays["mean"],
        sd=arrays["sd"],
        deff=arrays["deff"],
        upper=arrays["upper"],
        indicator=arrays["indicator"],
        units=arrays["units"],
        weights=arrays["weights"] if "weights" in arrays else equal_weights(len(names)),
        shown_days=float(arrays.get("shown_days", np.nan)),
    )


def unknown_arrays(null: Null) -> Arrays:
    """Name the arrays of what a null was too short to know, for :func:`pack`."""
    if null.unknown is None:
        return {"unknown": np.zeros(0)}
    unknown, effect = null.unknown, null.unknown.effect
    return {
        "unknown": np.vstack([unknown.seen, unknown.unseen]),
        "day_effect": np.array([effect.sd, effect.hours]),
        "day_effect_of": np.array(effect.origin.value),
    }


def with_unknown(
    null: Null,
    arrays: Arrays,
    coverage: SeasonCoverage,
    *,
    parts: Floats,
    rises: Callable[[], Floats],
) -> Null:
    """Add to a null what :func:`unknown_arrays` named.

    References of an older release lack it. If such a reference has seen every weekday, its own days
    count, as they did before; otherwise what it cannot have known is assumed.
    """
    stored = arrays.get("unknown")
    if stored is None:
        stored, effect = older(coverage, scores=len(null.names)), ASSUMED
    elif stored.size:
        sd, hours = arrays["day_effect"].tolist()
        effect = DayEffect(sd=sd, hours=hours, origin=Origin(str(arrays["day_effect_of"])))
    if not stored.size:
        return null
    unknown = Unknown(
        seen=stored[:2],
        unseen=stored[2:],
        parts=parts,
        rises=rises(),
        covered=covered_share(coverage),
        effect=effect,
    )
    return replace(null, unknown=unknown)


def coverage_arrays(coverage: SeasonCoverage) -> Arrays:
    """Name a coverage's arrays for :func:`pack`."""
    return {"hours": coverage.hours, "weekdays": coverage.weekdays}


def read_coverage(arrays: Arrays) -> SeasonCoverage:
    """Build a coverage from what :func:`coverage_arrays` named."""
    return SeasonCoverage(hours=arrays["hours"], weekdays=arrays["weekdays"])


def words(array: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return an array of text as a tuple."""
    return tuple(str(word) for word in array)
