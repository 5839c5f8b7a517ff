"""What is said of sound adapters, and of each way in which one can be wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import BASE, DemoAdapter
from monitor.domain import WeightsState
from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.inspection import Inspection, inspect_folder
from monitor.probes.weights.report import shortened, to_json
from tests.weights.folders import (
    PREFIX,
    Array,
    base_of,
    bf16,
    factors,
    layers,
    write_adapter,
    write_base,
    write_index,
)

FIRST = f"{PREFIX}model.layers.0.self_attn.q_proj"


def inspected(folder: Path, tensors: Any, **config: Any) -> Inspection:
    return inspect_folder(write_adapter(folder, tensors, **config))


def broken(found: Inspection, *said: str) -> None:
    assert found.state is WeightsState.BROKEN
    for words in said:
        assert words in found.reason


def suspect(found: Inspection, *said: str) -> None:
    assert found.state is WeightsState.SUSPECT, found.reason
    for words in said:
        assert words in found.reason


# --- sound --------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", DemoAdapter)
def test_the_demos_adapters_are_healthy(adapter: DemoAdapter) -> None:
    found = inspect_folder(adapter.path, base=BASE)
    assert (found.state, found.findings) == (WeightsState.HEALTHY, [])
    assert len(found.modules) == 3 * 7
    assert all(module.effective_rank == 8 for module in found.modules)
    assert all(0.2 < (module.ratio or 0) < 0.8 for module in found.modules)


def test_numbers_are_those_of_the_whole_matrix(tmp_path: Path, rng: np.random.Generator) -> None:
    a, b = factors(rng, rows=40, columns=30, rank=6)
    tensors = {f"{FIRST}.lora_A.weight": a, f"{FIRST}.lora_B.weight": b}
    [module] = inspected(tmp_path, tensors, r=6, target_modules=["q_proj"]).modules
    whole = np.linalg.svd((8 / 6) * b.astype(float) @ a.astype(float), compute_uv=False)[:6]
    assert module.spectral == pytest.approx(whole[0], rel=1e-12)
    assert module.frobenius == pytest.approx(np.linalg.norm(whole), rel=1e-12)
    assert module.effective_rank == np.sum(whole >= 0.01 * whole[0])
    share = whole / whole.sum()
    assert module.entropy_rank == pytest.approx(np.exp(-np.sum(share * np.log(share))))
    assert (module.module, module.kind, module.layer) == (
        "model.layers.0.self_attn.q_proj",
        "q_proj",
        0,
    )
    assert (module.rows, module.columns, module.dtypes) == (40, 30, ("F32",))


def test_the_scale_is_alpha_over_r_and_over_its_root_for_rslora(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng)
    plain = inspected(tmp_path / "plain", tensors).modules[0]
    rooted = inspected(tmp_path / "rooted", tensors, use_rslora=True).modules[0]
    assert (plain.scale, rooted.scale) == (8 / 4, 8 / np.sqrt(4))
    assert rooted.frobenius == pytest.approx(2 * (plain.frobenius or 0))


def test_patterns_of_rank_and_alpha_are_honoured_as_peft_does(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng, count=3)
    a, b = factors(rng, rank=2)
    tensors |= {f"{FIRST}.lora_A.weight": a, f"{FIRST}.lora_B.weight": b}
    found = inspected(
        tmp_path,
        tensors,
        rank_pattern={"model.layers.0.self_attn.q_proj": 2},
        alpha_pattern={r"layers\.[12]\.self_attn\.(q|k)_proj": 20, "v_proj": 12},
    )
    assert found.state is WeightsState.HEALTHY, found.reason
    scales = {module.module.removeprefix("model.layers."): module.scale for module in found.modules}
    assert scales == {
        "0.self_attn.q_proj": 8 / 2,
        "1.self_attn.q_proj": 20 / 4,
        "2.self_attn.q_proj": 20 / 4,
        "0.self_attn.v_proj": 12 / 4,
        "1.self_attn.v_proj": 12 / 4,
        "2.self_attn.v_proj": 12 / 4,
    }


def test_a_pattern_that_is_made_to_hang_does_not(tmp_path: Path, rng: np.random.Generator) -> None:
    found = inspected(tmp_path, layers(rng), alpha_pattern={"(.*)*(.*)*(.*)*!": 1.0})
    assert found.state is WeightsState.HEALTHY
    with pytest.raises(WeightsRefused, match="RE2 does not know") as caught:
        inspected(tmp_path, layers(rng), alpha_pattern={"(?=q)": 1.0})
    assert caught.value.refusal is Remedy.UNSUPPORTED


@pytest.mark.parametrize("kind", ["float64", "float16", "bf16"])
def test_every_float_format_is_measured(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    tensors = layers(rng)
    made = {name: bf16(x) if kind == "bf16" else x.astype(kind) for name, x in tensors.items()}
    exact = inspected(tmp_path / "exact", tensors)
    found = inspected(tmp_path / kind, made)
    assert found.state is WeightsState.HEALTHY
    for one, other in zip(found.modules, exact.modules, strict=True):
        assert one.frobenius == pytest.approx(other.frobenius, rel=0.01)


def test_embeddings_and_convolutions_are_updates_too(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    a, b = factors(rng, rows=16, columns=1000)
    kernel = rng.normal(size=(4, 3, 5, 5)).astype(np.float32)
    out = rng.normal(size=(8, 4, 1, 1)).astype(np.float32)
    tensors = {
        f"{PREFIX}model.embed_tokens.lora_embedding_A": a,
        f"{PREFIX}model.embed_tokens.lora_embedding_B": b,
        f"{PREFIX}vision.conv.lora_A.weight": kernel,
        f"{PREFIX}vision.conv.lora_B.weight": out,
    }
    found = inspected(tmp_path, tensors, target_modules=["embed_tokens", "conv"])
    assert found.state is WeightsState.HEALTHY, found.reason
    embedding, conv = found.modules
    assert (embedding.rows, embedding.columns) == (16, 1000)
    assert conv.frobenius == pytest.approx(
        2 * np.linalg.norm(out.reshape(8, 4) @ kernel.reshape(4, -1)), rel=1e-6
    )


def test_a_name_with_the_adapters_own_in_it_is_understood(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    a, b = factors(rng)
    tensors = {f"{FIRST}.lora_A.default.weight": a, f"{FIRST}.lora_B.default.weight": b}
    assert inspected(tmp_path, tensors, target_modules=["q_proj"]).modules[0].rank == 4


def test_two_adapters_in_one_file_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    a, _ = factors(rng)
    tensors = {f"{FIRST}.lora_A.one.weight": a, f"{FIRST}.lora_A.two.weight": a}
    with pytest.raises(WeightsRefused, match="the same part of one module"):
        inspected(tmp_path, tensors)


def test_experts_in_one_parameter_have_a_multiple_of_the_rank(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    a, b = factors(rng, rank=12)
    tensors = {f"{PREFIX}mlp.experts.lora_A.weight": a, f"{PREFIX}mlp.experts.lora_B.weight": b}
    config: dict[str, Any] = {"target_modules": None, "target_parameters": ["mlp.experts.up"]}
    assert inspected(tmp_path, tensors, **config).state is WeightsState.HEALTHY


# --- broken -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["lora_A", "lora_B"])
def test_one_number_that_is_none_breaks_an_adapter(
    tmp_path: Path, rng: np.random.Generator, value: float, kind: str
) -> None:
    tensors = layers(rng)
    tensors[f"{FIRST}.{kind}.weight"][2, 3] = value
    found = inspected(tmp_path, tensors)
    broken(found, "1 NaN or infinite numbers in 1 module: model.layers.0.self_attn.q_proj")
    assert found.modules[0].frobenius is None
    assert found.modules[1].frobenius is not None


def test_nan_in_a_module_that_is_stored_whole_is_found(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    head = np.full((4, 4), np.nan, dtype=np.float32)
    tensors = layers(rng) | {f"{PREFIX}lm_head.weight": head}
    found = inspected(tmp_path, tensors, modules_to_save=["lm_head"])
    broken(found, "16 NaN or infinite numbers", "lm_head.weight")


@pytest.mark.parametrize("kind", ["lora_A", "lora_B"])
def test_an_adapter_that_was_never_trained_would_change_nothing(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    tensors = {name: x * (kind not in name) for name, x in layers(rng).items()}
    broken(inspected(tmp_path, tensors), "would not change the base at all")


def test_an_alpha_of_zero_changes_nothing_either(tmp_path: Path, rng: np.random.Generator) -> None:
    broken(inspected(tmp_path, layers(rng), lora_alpha=0), "would not change the base at all")


@pytest.mark.parametrize(("lost", "kept"), [("lora_A", "lora_B"), ("lora_B", "lora_A")])
def test_half_an_update_is_broken(
    tmp_path: Path, rng: np.random.Generator, lost: str, kept: str
) -> None:
    tensors = layers(rng)
    del tensors[f"{FIRST}.{lost}.weight"]
    broken(inspected(tmp_path, tensors), f"q_proj has {kept} but not {lost}")


def test_factors_that_do_not_fit_are_broken(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = layers(rng)
    tensors[f"{FIRST}.lora_B.weight"] = np.ones((24, 5), dtype=np.float32)
    broken(inspected(tmp_path, tensors), "lora_A 4x16 and lora_B 24x5 do not fit each other")


def test_a_rank_that_is_not_the_configs_is_broken(tmp_path: Path, rng: np.random.Generator) -> None:
    found = inspected(tmp_path, layers(rng), r=8)
    broken(found, "has rank 4; the config says 8", "9 modules more make no update either")


def test_factors_without_numbers_are_broken(tmp_path: Path) -> None:
    tensors = {
        f"{FIRST}.lora_A.weight": np.zeros((4, 0), dtype=np.float32),
        f"{FIRST}.lora_B.weight": np.zeros((0, 4), dtype=np.float32),
    }
    broken(inspected(tmp_path, tensors, target_modules=["q_proj"]), "would not change the base")


def test_a_rank_beyond_any_lora_is_not_measured(tmp_path: Path) -> None:
    tensors = {
        f"{FIRST}.lora_A.weight": np.ones((5000, 2), dtype=np.float16),
        f"{FIRST}.lora_B.weight": np.ones((2, 5000), dtype=np.float16),
    }
    broken(inspected(tmp_path, tensors, r=5000), "has rank 5,000; nothing above 4,096")


def test_a_file_without_updates_is_broken(tmp_path: Path) -> None:
    broken(inspected(tmp_path, {"a": np.ones(3, dtype=np.float32)}), "holds no LoRA tensors")


# --- suspect ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Corruption.ZEROED_LAYER, "the update of 7 modules is zero: model.layers.2."),
        (Corruption.SCALED, "the update is as large as the base's weight in"),
    ],
)
def test_damage_that_loads_and_shows_in_the_weights_is_suspect(
    tmp_path: Path, how: Corruption, said: str
) -> None:
    corrupt_adapter(DemoAdapter.SUPPORT_V1.path, tmp_path / "damaged", seed=3, how=how)
    suspect(inspect_folder(tmp_path / "damaged", base=BASE), said)


def test_a_collapsed_rank_is_suspect(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = layers(rng)
    for name, tensor in tensors.items():
        if "q_proj.lora_B" in name or "layers.0.self_attn.v_proj.lora_B" in name:
            tensor[:, 1:] = tensor[:, :1] + 1e-4 * tensor[:, 1:]
    suspect(inspected(tmp_path, tensors), "effective rank 1 of 4 in 7 modules of 12")


def test_a_minority_of_low_ranks_is_none_of_our_business(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng)
    tensors[f"{FIRST}.lora_B.weight"][:, 1:] = 0
    assert inspected(tmp_path, tensors).state is WeightsState.HEALTHY


@pytest.mark.parametrize("times", [100.0, 0.01])
def test_an_update_unlike_its_siblings_is_suspect(
    tmp_path: Path, rng: np.random.Generator, times: float
) -> None:
    tensors = layers(rng, count=8)
    tensors[f"{FIRST}.lora_B.weight"] *= times
    found = inspected(tmp_path, tensors)
    suspect(found, "the update of 1 module is unlike its siblings'", "layers.0.self_attn.q_proj")


def test_updates_that_differ_as_layers_do_are_not(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = layers(rng, count=8)
    for number, name in enumerate(tensors):
        tensors[name] *= 1 + 0.2 * number
    assert inspected(tmp_path, tensors).state is WeightsState.HEALTHY


def test_modules_that_the_config_does_not_know_are_suspect(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    found = inspected(tmp_path, layers(rng), target_modules=["q_proj", "o_proj"])
    suspect(
        found,
        "6 modules are none of the config's target modules",
        "no tensors for target modules of the config: o_proj",
    )


@pytest.mark.parametrize(
    ("pattern", "strangers"),
    [(r".*\.(q|v)_proj", 0), (r".*\.q_proj", 6), ("all-linear", 0), (r"(?=x).*", 0)],
)
def test_target_modules_may_be_a_pattern(
    tmp_path: Path, rng: np.random.Generator, pattern: str, strangers: int
) -> None:
    found = inspected(tmp_path, layers(rng), target_modules=pattern)
    assert sum(len(finding.modules) for finding in found.findings) == strangers


def test_a_saved_module_that_is_not_there_is_suspect(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng) | {f"{PREFIX}lm_head.weight": np.ones((4, 4), dtype=np.float32)}
    found = inspected(tmp_path, tensors, modules_to_save=["lm_head", "score"])
    suspect(found, "the file lacks modules_to_save of the config: score")
    assert [one.name for one in found.others] == [f"{PREFIX}lm_head.weight"]


def test_a_negative_alpha_is_suspect(tmp_path: Path, rng: np.random.Generator) -> None:
    suspect(inspected(tmp_path, layers(rng), lora_alpha=-8), "alpha is negative for 12 modules")


# --- DoRA ---------------------------------------------------------------------------------


def dora(rng: np.random.Generator) -> dict[str, Array]:
    tensors = layers(rng)
    modules = {name.split(".lora_")[0] for name in tensors}
    return tensors | {
        f"{module}.lora_magnitude_vector": rng.uniform(0.5, 2, size=24).astype(np.float32)
        for module in sorted(modules)
    }


def test_magnitudes_are_read_beside_the_updates(tmp_path: Path, rng: np.random.Generator) -> None:
    found = inspected(tmp_path, dora(rng), use_dora=True)
    assert found.state is WeightsState.HEALTHY, found.reason
    magnitude = found.modules[0].magnitude
    assert magnitude
    assert 0.5 <= magnitude.lowest < magnitude.highest <= 2


def test_magnitudes_that_are_absent_negative_or_nan_are_told(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = dora(rng)
    tensors[f"{FIRST}.lora_magnitude_vector"][3] = -1
    del tensors[f"{PREFIX}model.layers.1.self_attn.q_proj.lora_magnitude_vector"]
    found = inspected(tmp_path, tensors, use_dora=True)
    suspect(found, "no DoRA magnitude for 1 module", "zero or below in 1 module")
    tensors[f"{FIRST}.lora_magnitude_vector"][3] = np.nan
    broken(inspected(tmp_path, tensors, use_dora=True), "(magnitude)")


def test_untrained_factors_beside_magnitudes_are_only_suspect(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = {name: x * ("lora_B" not in name) for name, x in dora(rng).items()}
    suspect(inspected(tmp_path, tensors, use_dora=True), "every update is zero")


# --- notes --------------------------------------------------------------------------------


def notes(found: Inspection) -> str:
    assert found.state is WeightsState.HEALTHY, found.reason
    return "; ".join(finding.what for finding in found.findings)


def test_what_is_rare_and_legal_is_a_note(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = layers(rng)
    assert "a scale outside 0.05 to 32" in notes(inspected(tmp_path, tensors, lora_alpha=400))
    assert "pissa_niter_4" in notes(inspected(tmp_path, tensors, init_lora_weights="pissa_niter_4"))
    tensors[f"{FIRST}.lora_B.weight"] = tensors[f"{FIRST}.lora_B.weight"].astype(np.float16)
    assert "mixed: F32 in 12, F16 in 1 modules" in notes(inspected(tmp_path, tensors))


# --- beside the base ----------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_ratio_is_to_the_weight_that_is_changed(
    tmp_path: Path, rng: np.random.Generator, shards: int, prefix: str
) -> None:
    tensors = layers(rng)
    weights = base_of(tensors, rng)
    stored = {name.removeprefix("model.") if not prefix else name: x for name, x in weights.items()}
    base = write_base(tmp_path / "base", stored, shards=shards)
    found = inspect_folder(write_adapter(tmp_path / "adapter", tensors), base=base)
    assert found.state is WeightsState.SUSPECT  # random factors are as large as random weights
    for module in found.modules:
        norm = np.linalg.norm(weights[f"{module.module}.weight"].astype(float))
        assert module.base_norm == pytest.approx(norm, rel=1e-6)
        assert module.ratio == pytest.approx((module.frobenius or 0) / norm, rel=1e-6)


def test_a_base_of_other_shapes_is_another_base(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = layers(rng)
    weights = {name: np.ones((24, 17), np.float32) for name in base_of(tensors, rng)}
    base = write_base(tmp_path / "base", weights)
    found = inspect_folder(write_adapter(tmp_path / "adapter", tensors), base=base)
    broken(found, "12 modules do not fit the shapes of this base")


def test_a_base_that_stores_the_transpose_fits(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = {name: x / 100 for name, x in layers(rng).items()}
    weights = {name: x.T for name, x in base_of(tensors, rng).items()}
    base = write_base(tmp_path / "base", weights)
    found = inspect_folder(write_adapter(tmp_path / "adapter", tensors), base=base)
    assert found.state is WeightsState.HEALTHY, found.reason


def test_modules_that_the_base_lacks_are_told(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = layers(rng)
    weights = {name: 100 * x for name, x in base_of(tensors, rng).items()}
    adapter = write_adapter(tmp_path / "adapter", tensors)
    del weights["model.layers.0.self_attn.q_proj.weight"]
    some = inspect_folder(adapter, base=write_base(tmp_path / "base", weights))
    suspect(some, "the base has no weight for 1 module: model.layers.0.self_attn.q_proj")
    others = {name.replace("layers", "blocks"): x for name, x in weights.items()}
    none = inspect_folder(adapter, base=write_base(tmp_path / "other", others))
    suspect(none, "the base has no weight for 12 modules")


@pytest.mark.parametrize("name", ["weight", "qweight"])
def test_a_quantised_base_gives_no_ratio(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    tensors = layers(rng)
    weights = {
        name_.replace("weight", name): x.astype(np.int8)
        for name_, x in base_of(tensors, rng).items()
    }
    base = write_base(tmp_path / "base", weights)
    found = inspect_folder(write_adapter(tmp_path / "adapter", tensors), base=base)
    assert "the base is quantised, so there is no ratio, in 12 modules" in notes(found)


@pytest.mark.parametrize("place", ["../weights", "/etc/hostname", "a/b.safetensors", "..", ""])
def test_an_index_that_leads_out_of_the_folder_is_refused(
    tmp_path: Path, rng: np.random.Generator, place: str
) -> None:
    (tmp_path / "weights").write_bytes(b"")
    base = write_base(tmp_path / "base", base_of(layers(rng), rng), shards=2)
    write_index(base, {"never.wanted.weight": place})
    with pytest.raises(WeightsRefused, match="is not a plain file name"):
        inspect_folder(DemoAdapter.SUPPORT_V1.path, base=base)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    base = write_base(tmp_path / "base", base_of(layers(rng), rng), shards=2)
    (base / "model-0.safetensors").rename(tmp_path / "elsewhere")
    (base / "model-0.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeightsRefused, match="leads out of the folder"):
        inspect_folder(DemoAdapter.SUPPORT_V1.path, base=base)


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": 1}}'])
def test_a_wrong_index_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(raw)
    with pytest.raises(WeightsRefused, match=r"^model\.safetensors\.index\.json: ") as caught:
        inspect_folder(DemoAdapter.SUPPORT_V1.path, base=tmp_path)
    assert caught.value.refusal is Remedy.DAMAGED


def test_a_base_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match="No such file") as caught:
        inspect_folder(DemoAdapter.SUPPORT_V1.path, base=tmp_path)
    assert caught.value.refusal is Remedy.MISSING


# --- the report ---------------------------------------------------------------------------


def test_a_report_is_json_whatever_was_found(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = dora(rng)
    tensors[f"{FIRST}.lora_B.weight"][0, 0] = np.nan
    tensors[f"{FIRST}.lora_magnitude_vector"][:] = np.nan
    del tensors[f"{PREFIX}model.layers.1.self_attn.q_proj.lora_A.weight"]
    report = to_json(inspected(tmp_path, tensors, use_dora=True))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["modules"][0]["frobenius"] is None
    assert report["modules"][0]["magnitude"] == [None, None]
    assert report["summary"]["effective_rank"] == [4.0, 4.0, 4.0]
    assert report["adapter"]["base"] == "acme/base"
    assert report["adapter"]["revision"] == "abc123"


def test_a_stored_report_is_bounded(tmp_path: Path, rng: np.random.Generator) -> None:
    report = to_json(inspected(tmp_path, layers(rng)))
    long = {
        **report,
        "modules": report["modules"] * 1000,
        "findings": [{"gravity": "note", "what": "x", "modules": ["m"] * 5000}],
    }
    kept = shortened(long)
    assert (len(kept["modules"]), kept["modules_left_out"]) == (2000, 10_000)
    assert len(kept["findings"][0]["modules"]) == 100


@pytest.mark.parametrize(
    "changed",
    [
        {"lora_alpha": 16},
        {"lora_alpha": 4},
        {"use_rslora": True},
        {"use_dora": True},
        {"target_modules": ["q_proj"]},
        {"alpha_pattern": {"q_proj": 16}},
        {"rank_pattern": {"v_proj": 4}},
        {"modules_to_save": ["lm_head"]},
        {"a_field_of_next_year": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_adapter_with_another_config_has_another_identity(
    tmp_path: Path, rng: np.random.Generator, changed: dict[str, Any]
) -> None:
    tensors = layers(rng)
    as_it_was = inspect_folder(write_adapter(tmp_path / "a", tensors))
    other = inspect_folder(write_adapter(tmp_path / "b", tensors, **changed))
    assert other.sha256 == as_it_was.sha256
    assert other.identity != as_it_was.identity


def test_an_adapter_that_is_saved_again_keeps_its_identity(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng)
    before = inspect_folder(write_adapter(tmp_path / "a", tensors))
    resaved: dict[str, Any] = {
        "target_modules": ["v_proj", "q_proj"],
        "lora_alpha": 8.0,
        "base_model_name_or_path": "/models/base",
        "peft_version": "0.21.2",
        "inference_mode": True,
        "rank_pattern": {},
        "use_dora": False,
        "layers_to_transform": None,
    }
    folder = write_adapter(tmp_path / "b", tensors, **resaved)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=4, sort_keys=True))
    assert inspect_folder(folder).identity == before.identity


def test_other_tensors_have_another_identity(tmp_path: Path, rng: np.random.Generator) -> None:
    found = [inspect_folder(write_adapter(tmp_path / n, layers(rng))).identity for n in ("a", "b")]
    assert found[0] != found[1]


def test_the_hash_is_the_weights_files(tmp_path: Path) -> None:
    shutil.copytree(DemoAdapter.TRAVEL_V1.path, tmp_path / "copy")
    found, copied = (inspect_folder(f) for f in (DemoAdapter.TRAVEL_V1.path, tmp_path / "copy"))
    assert found.sha256 == copied.sha256
    assert len(found.sha256) == 64
