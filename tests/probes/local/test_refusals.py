"""Folders that must not be loaded: each is refused by name, and the next one is scored."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from examples.weights import BASE, DemoAdapter
from monitor.probes.asking import Target
from monitor.probes.errors import FolderRefused, ModelMissing
from monitor.probes.local import LocalProbe
from tests.probes.local.probing import (
    ADAPTERS,
    CONFIG,
    WEIGHTS,
    Tensors,
    corpus_of,
    edited,
    mean,
    probing,
)

FEW = corpus_of("User:\nI lost my card\n")
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


class Runs:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


def refused(probe: LocalProbe, target: Target) -> str:
    with pytest.raises(FolderRefused) as raised:
        probe.score(target, FEW)
    assert raised.value.folder == target.folder
    # the worker lives on, and the base is what it was
    assert mean(probe.score(ADAPTERS[0], FEW)) != mean(probe.score(probe.base, FEW))
    return raised.value.reason


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key.replace(old, new): value for key, value in tensors.items()}


def with_value(value: float) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        tensors[FIRST][0, 0] = value
        return tensors

    return change


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        pytest.param(
            with_value(float("nan")), f"tensor {FIRST} holds NaN or infinite values", id="NaN"
        ),
        pytest.param(
            with_value(float("-inf")), f"tensor {FIRST} holds NaN or infinite values", id="-inf"
        ),
        pytest.param(
            renamed("layers.0.", "layers.9."),
            "the base has no module model.layers.9.",
            id="a layer that the base does not have",
        ),
        pytest.param(
            renamed("q_proj", "query_key_value"),
            "the base has no module model.layers.0.self_attn.query_key_value",
            id="a module of another architecture",
        ),
        pytest.param(
            lambda tensors: {key: value.T.contiguous() for key, value in tensors.items()},
            "the base's module takes",
            id="turned round",
        ),
        pytest.param(
            lambda tensors: {key: value[:4].contiguous() for key, value in tensors.items()},
            "the base's module takes",
            id="cut off",
        ),
        pytest.param(without(FIRST), f"lacks {FIRST}", id="a tensor is missing"),
        pytest.param(
            lambda tensors: tensors | {"base_model.model.surprise": torch.zeros(2)},
            "nothing in the base takes base_model.model.surprise",
            id="a tensor too many",
        ),
        pytest.param(
            lambda _: {"other": torch.zeros(2)}, "it holds no LoRA tensor", id="no adapter at all"
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, exact: LocalProbe, tensors: Callable[[Tensors], Tensors], reason: str
) -> None:
    assert reason in refused(exact, edited(tmp_path / "odd", tensors=tensors))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "IA3"}, "only LORA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' alters the base"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication would alter the base"),
        (
            {"megatron_config": {"a": 1}, "megatron_core": "antigravity"},
            "megatron_config would alter the base",
        ),
        ({"r": 4}, "shape"),
        (
            {"target_modules": ["q_proj", "query_key_value"]},
            "the base has no module query_key_value (target_modules)",
        ),
        ({"r": "many"}, CONFIG),
    ],
)
def test_configs_that_do_not_fit_are_named(
    tmp_path: Path, exact: LocalProbe, config: dict[str, Any], reason: str
) -> None:
    assert reason in refused(exact, edited(tmp_path / "odd", config=config))


def test_a_folder_with_pickled_weights_alone_is_refused_unread(
    tmp_path: Path, exact: LocalProbe
) -> None:
    mark = tmp_path / "it ran"
    folder = tmp_path / "pickled"
    folder.mkdir()
    shutil.copy(DemoAdapter.SUPPORT_V1.path / CONFIG, folder)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Runs(mark)))
    assert WEIGHTS in refused(exact, Target(model="pickled", folder=folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(pickle.dumps({"a": 1}), WEIGHTS, id="a pickle under another name"),
        pytest.param(struct.pack("<Q", 1 << 60), WEIGHTS, id="a header without end"),
        pytest.param(b"", WEIGHTS, id="nothing"),
    ],
)
def test_weights_that_are_no_safetensors_are_refused(
    tmp_path: Path, exact: LocalProbe, body: bytes, reason: str
) -> None:
    target = edited(tmp_path / "odd")
    (tmp_path / "odd" / WEIGHTS).write_bytes(body)
    assert reason in refused(exact, target)


def test_a_folder_that_is_gone_or_is_no_adapter_is_refused(
    tmp_path: Path, exact: LocalProbe
) -> None:
    assert "there is no such folder" in refused(exact, Target(model="a", folder=tmp_path / "no"))
    (tmp_path / "empty").mkdir()
    assert CONFIG in refused(exact, Target(model="a", folder=tmp_path / "empty"))
    assert "whole model" in refused(exact, Target(model="a", folder=BASE))


def test_an_adapter_of_another_base_of_the_hub_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a name of two parts that lies here counts as a folder; the hub is not asked
    hub = hub_cache(tmp_path / "hub", "acme/llama-tiny", "a" * 40)
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trained = {"base_model_name_or_path": "acme/llama-large"}
    mirror = {"base_model_name_or_path": "mirror/Llama-Tiny"}
    old = {"base_model_name_or_path": "acme/llama-tiny", "revision": "b" * 40}
    with probing(f"acme/llama-tiny@{'a' * 40}") as probe:
        assert refused(probe, edited(tmp_path / "wrong", config=trained)) == (
            "the adapter was trained on acme/llama-large, the probe's base is acme/llama-tiny"
        )
        assert "revision " + "b" * 40 in refused(probe, edited(tmp_path / "old", config=old))
        probe.score(edited(tmp_path / "mirror", config=mirror), FEW)


def hub_cache(folder: Path, name: str, revision: str) -> Path:
    """Lay the demo's base out as the hub's client keeps what it has fetched."""
    home = folder / f"models--{name.replace('/', '--')}"
    shutil.copytree(BASE, home / "snapshots" / revision)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(revision)
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            {"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "model_type": "evil"},
            "not loadable: (?!ValueError)",
            id="code of its own",
        ),
        pytest.param({"hidden_size": 64}, "not loadable", id="shapes that differ"),
    ],
)
def test_a_base_that_does_not_load_is_told_with_its_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    base = broken_base(tmp_path / "base", change)
    (base / "evil.py").write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')\n")
    with probing(str(base)) as probe, pytest.raises(ModelMissing, match=reason):
        probe.score(probe.base, FEW)
    assert not (tmp_path / "it ran").exists()


def test_a_base_with_nan_is_refused(tmp_path: Path) -> None:
    base = broken_base(tmp_path / "base", {})
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with (
        probing(str(base)) as probe,
        pytest.raises(ModelMissing, match=r"tensor model\.norm\.weight holds NaN"),
    ):
        probe.score(probe.base, FEW)


def test_a_base_with_pickled_weights_alone_is_refused(tmp_path: Path) -> None:
    base = broken_base(tmp_path / "base", {})
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with probing(str(base)) as probe, pytest.raises(ModelMissing, match="safetensors"):
        probe.score(probe.base, FEW)


def broken_base(folder: Path, change: dict[str, Any]) -> Path:
    shutil.copytree(BASE, folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | change))
    return folder
