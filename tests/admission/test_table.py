"""Every adapter that is broken on purpose is refused for its own reason, and no sound one is."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from detectors.checks import Check, CheckVerdict, worst
from detectors.weight_checks import WeightLimits, weight_checks
from examples.weights import DemoAdapter
from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.process import WeightQuestion, asked_apart
from tests.admission.broken_adapters import (
    LAYERS,
    TRAVEL,
    UP,
    Change,
    as_bfloat16,
    as_float8,
    as_float32,
    as_float64,
    checked,
    configured,
    made,
    narrower,
    of_rank,
    one_direction,
    scaled,
    spoiled,
    trained_on,
    unchanged,
    without,
    zeroed,
)
from tests.weights.folders import layers, write_adapter

A, B = f"{UP}.lora_A.weight", f"{UP}.lora_B.weight"
BROKEN: Mapping[str, tuple[str, Change]] = {
    "a factor without its other": ("files", without(B)),
    "another model's width": ("files", narrower),
    "another rank than its factors": ("files", configured(r=16, lora_alpha=32)),
    "a NaN": ("finite", spoiled(math.nan, A)),
    "an infinity": ("finite", spoiled(math.inf, B)),
    "float64": ("dtype", as_float64),
    "float8": ("dtype", as_float8),
    "four times the alpha, at the same size": (
        "scale",
        lambda tensors: {**scaled(0.25)(tensors), "lora_alpha": 64},
    ),
    "an eighth of the alpha": ("scale", configured(lora_alpha=2)),
    "rank 3 of 8": ("rank", of_rank(3)),
    "one direction that outweighs seven": ("rank", one_direction),
    "twice the size": ("size", scaled(2.0)),
    "ten times the size": ("size", scaled(10.0)),
    "a dead module": ("dead", scaled(0.0, UP)),
    "a dead layer": ("dead", scaled(0.0, f"{LAYERS}.2.")),
    "a factor A of zeros": ("dead", zeroed(A)),
    "a module that hardly learned": ("mates", scaled(1 / 60, UP)),
}
SOUND: Mapping[str, Change] = {
    "float32": as_float32,
    "bfloat16": as_bfloat16,
    "rsLoRA of the same scale": configured(use_rslora=True, lora_alpha=2 * math.sqrt(8)),
    "a twentieth of the size": scaled(0.05),
    "trained on": trained_on,
}


def refused(found: Mapping[str, Check]) -> list[str]:
    return [name for name, one in found.items() if one.verdict is CheckVerdict.REFUSE]


@pytest.mark.parametrize(("reason", "change"), BROKEN.values(), ids=BROKEN)
def test_a_broken_adapter_is_refused_for_its_reason(
    reason: str, change: Change, tmp_path: Path
) -> None:
    found = checked(made(tmp_path / "broken", change))
    assert refused(found) == [reason], found
    assert found[reason].number is not None
    assert found[reason].limit


@pytest.mark.parametrize("times", [6.0, -6.0])
def test_an_adapter_far_from_its_parent_is_refused(times: float, tmp_path: Path) -> None:
    parent = made(tmp_path / "parent", unchanged, size=0.1)
    found = checked(made(tmp_path / "child", scaled(times), size=0.1), parent=parent)
    assert refused(found) == ["parent"]
    assert found["parent"].number == pytest.approx(abs(times - 1), rel=0.01)


def test_a_module_that_outgrew_its_mates_is_refused(tmp_path: Path) -> None:
    found = checked(made(tmp_path / "broken", scaled(40.0, UP), size=0.02))
    assert refused(found) == ["mates"]
    assert "model.layers.1.mlp.up_proj" in found["mates"].reason


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND)
def test_a_sound_adapter_is_not_refused(change: Change, tmp_path: Path) -> None:
    found = checked(made(tmp_path / "sound", change), parent=TRAVEL)
    assert refused(found) == []


@pytest.mark.parametrize("adapter", DemoAdapter)
def test_no_adapter_of_the_demo_is_refused(adapter: DemoAdapter) -> None:
    before = {DemoAdapter.SUPPORT_V2: DemoAdapter.SUPPORT_V1.path, DemoAdapter.TRAVEL_V2: TRAVEL}
    found = checked(adapter.path, parent=before.get(adapter))
    assert refused(found) == []
    assert worst(found.values()) is CheckVerdict.WARN, "each is .4 of the base or more"
    assert found["size"].number == pytest.approx(0.47, abs=0.05)


def test_beyond_the_limit_of_size_the_parent_decides() -> None:
    found = checked(DemoAdapter.SUPPORT_V2.path)
    assert refused(found) == ["size"]
    beside = checked(DemoAdapter.SUPPORT_V2.path, parent=DemoAdapter.SUPPORT_V1.path)
    assert beside["size"].verdict is CheckVerdict.WARN
    assert beside["size"].number == found["size"].number


def test_the_parents_own_weights_are_told(tmp_path: Path) -> None:
    found = checked(made(tmp_path / "same", as_float32), parent=TRAVEL)
    assert found["parent"].verdict is CheckVerdict.WARN
    assert found["parent"].reason == "the weights are the parent's"


def test_damage_is_refused_before_any_number_is_read(tmp_path: Path) -> None:
    folder = made(tmp_path / "short", unchanged)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsRefused, match="outside the file"):
        checked(folder)


def test_a_module_beside_mates_that_are_all_alike_is_infinitely_far_and_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng, count=6, kinds=("q_proj",))
    same = list(tensors.values())[:2]
    tensors |= dict(zip(tensors, same * 6, strict=True))
    last = list(tensors)[-1]
    tensors[last] = tensors[last] * np.float32(20.0)
    folder = write_adapter(tmp_path, tensors, target_modules=["q_proj"])
    told = asked_apart(WeightQuestion(folder=str(folder)))
    [found] = [one for one in weight_checks(told.measures, WeightLimits()) if one.name == "mates"]
    assert found.verdict == CheckVerdict.REFUSE
    assert found.number == pytest.approx(20.0)
