"""Everything answers otherwise, because what is below the adapters was changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from benchmarks.adapters.ways.way import Expected, OfEngine, Setup, Shelf, Way

FAMILY: Final = "engine"
EXPECTED: Final = Expected(seen=True, blame=("base", "serving"))


def other_dtype(setup: Setup, _: Shelf) -> Setup:
    """Serve in another precision."""
    other = {"bfloat16": "float32", "float32": "bfloat16"}
    return replace(setup, dtype=other[setup.dtype])


def other_base(setup: Setup, shelf: Shelf) -> Setup:
    """Serve another revision of the base under the same name."""
    return replace(setup, model=shelf.revision())


def quantised_cache(setup: Setup, _: Shelf) -> Setup:
    """Keep keys and values in eight bits."""
    return replace(setup, arguments=("--kv-cache-dtype", "fp8_e5m2"))


def patched_kernels(setup: Setup, _: Shelf) -> Setup:
    """Turn positions by a tenth of the base's frequency, as an upgrade that misread its config."""
    config = json.loads((setup.model / "config.json").read_text(encoding="utf-8"))
    usual = config.get("rope_parameters") or {
        "rope_theta": config.get("rope_theta", 1e4),  # as older folders write it
        "rope_type": "default",
    }
    slower = {**usual, "rope_theta": usual["rope_theta"] / 10}
    return replace(setup, config={"rope_parameters": slower})


WAYS: Final = tuple(
    Way(
        name=name,
        family=FAMILY,
        says=says,
        fault=OfEngine(change=change),
        expected=expected,
    )
    for name, says, change, expected in (
        (
            "other-dtype",
            "the engine serves in another precision, bfloat16 or float32",
            other_dtype,
            Expected(seen=False, blame=("base", "serving")),
        ),
        (
            "other-base",
            "another revision of the base is served under its name",
            other_base,
            EXPECTED,
        ),
        (
            "quantised-kv-cache",
            "keys and values are kept in 8 bits",
            quantised_cache,
            Expected(seen=False, blame=("base", "serving")),
        ),
        (
            "patched-kernels",
            "an upgraded engine turns positions by another frequency",
            patched_kernels,
            EXPECTED,
        ),
    )
)
