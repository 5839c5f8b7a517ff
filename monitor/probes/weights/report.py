"""Write an inspection as JSON, for pipes and for the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitor.probes.weights.findings import WeightFinding, outliers
from monitor.probes.weights.health import ModuleHealth
from monitor.probes.weights.inspection import Inspection

STORED_MODULES: Final = 2_000
"""Modules whose numbers are all stored; of further ones only the summary is."""
STORED_NAMES: Final = 100
"""The most modules that a stored finding names."""
_SPREAD: Final = ("effective_rank", "entropy_rank", "energy_rank", "frobenius", "spectral", "ratio")


def to_json(found: Inspection) -> dict[str, Any]:
    """Write the whole inspection; ``null`` is a number that could not be measured."""
    config = found.config
    return {
        "state": found.state.value,
        "reason": found.reason,
        "findings": [_finding(finding) for finding in found.findings],
        "summary": summary(found),
        "adapter": {
            "peft_type": config.peft_type,
            "r": config.r,
            "alpha": config.lora_alpha,
            "rslora": bool(config.use_rslora),
            "dora": bool(config.use_dora),
            "base": config.base_model_name_or_path,
            "revision": config.revision,
            "target_modules": config.target_modules,
            "modules_to_save": config.modules_to_save,
        },
        "tensors": found.tensors,
        "bytes": found.bytes,
        "identity": found.identity,
        "sha256": found.sha256,
        "others": [tensor.name for tensor in found.others[:STORED_NAMES]],
        "modules": [_module(module) for module in found.modules],
    }


def shortened(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report in a size that the store can hold, whatever the file's."""
    left_out = max(0, len(report["modules"]) - STORED_MODULES)
    return {
        **report,
        "findings": [
            {**finding, "modules": finding["modules"][:STORED_NAMES]}
            for finding in report["findings"]
        ],
        "modules": report["modules"][:STORED_MODULES],
        "modules_left_out": left_out,
    }


def summary(found: Inspection) -> dict[str, Any]:
    """Return lowest, median and highest of each number, over all modules."""
    scales = [module.scale for module in found.modules]
    return {
        "modules": len(found.modules),
        "dtypes": sorted({dtype for module in found.modules for dtype in module.dtypes}),
        "scale": spread(scales),
        **{name: spread(numbers(found.modules, name)) for name in _SPREAD},
    }


def numbers(modules: Sequence[ModuleHealth], name: str) -> list[float]:
    """Return one number of each module that has it."""
    return [value for module in modules if (value := getattr(module, name)) is not None]


def spread(values: Sequence[float]) -> list[float | None] | None:
    """Return lowest, median and highest; None without values."""
    if not values:
        return None
    return [_number(float(f(values))) for f in (np.min, np.median, np.max)]


def furthest(found: Inspection, *, count: int) -> list[tuple[ModuleHealth, float]]:
    """Return the modules least like their siblings, with their robust z."""
    far = outliers(found.modules)
    known = [(module, far[module.module]) for module in found.modules if module.module in far]
    return sorted(known, key=lambda pair: -abs(pair[1]))[:count]


def _finding(finding: WeightFinding) -> dict[str, Any]:
    return {
        "gravity": finding.gravity.value,
        "what": finding.what,
        "modules": list(finding.modules),
    }


def _module(module: ModuleHealth) -> dict[str, Any]:
    magnitude = module.magnitude
    return {
        "module": module.module,
        "kind": module.kind,
        "layer": module.layer,
        "rank": module.rank,
        "scale": module.scale,
        "dtypes": list(module.dtypes),
        "shape": None if module.rows is None else [module.rows, module.columns],
        "problem": module.problem,
        "nonfinite": module.nonfinite,
        **{name: _number(getattr(module, name)) for name in _SPREAD},
        "magnitude": [_number(magnitude.lowest), _number(magnitude.highest)] if magnitude else None,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
