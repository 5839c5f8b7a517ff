"""`driftline inspect` as a user runs it."""

import json
from pathlib import Path

import pytest

from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import BASE, DemoAdapter
from tests.cli.command import driftline, failed, process
from tests.service import running, until

SOUND = DemoAdapter.SUPPORT_V1.path


def damaged(folder: Path) -> Path:
    corrupt_adapter(SOUND, folder, seed=1, how=Corruption.ZEROED_LAYER)
    return folder


def test_a_sound_adapter_is_shown_by_kind_of_module() -> None:
    ran = driftline("inspect", str(SOUND), "--base", str(BASE))
    assert (ran.code, ran.err) == (0, "")
    for words in ("q_proj", "down_proj", "8 / 8 / 8", "0.371 / 0.449 / 0.455", ": healthy"):
        assert words in ran.out
    assert "LoRA, r 8, alpha 16, on driftline-demo-base" in ran.out
    assert "model.layers.0" not in ran.out


def test_every_module_is_shown_on_demand() -> None:
    ran = driftline("inspect", str(SOUND), "--full")
    assert ran.code == 0
    assert ran.out.count("model.layers.") == 21


def test_the_exit_code_is_the_state(tmp_path: Path) -> None:
    ran = driftline("inspect", str(damaged(tmp_path / "zeroed")))
    assert ran.code == 3
    assert "suspect: the update of 7 modules is zero" in ran.out
    config = tmp_path / "zeroed" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 16', '"lora_alpha": 0'))
    ran = driftline("inspect", str(tmp_path / "zeroed"))
    assert ran.code == 4
    assert "broken: every update is zero" in ran.out


def test_json_has_everything(tmp_path: Path) -> None:
    ran = driftline("inspect", str(damaged(tmp_path)), "--json")
    said = json.loads(ran.out)
    assert (ran.code, said["state"], len(said["modules"])) == (3, "suspect", 21)
    assert said["findings"][0]["modules"][0] == "model.layers.2.mlp.down_proj"


@pytest.mark.parametrize("words", [["inspect"], ["inspect", "a", "b"]], ids=" ".join)
def test_wrong_usage_is_exit_code_two(words: list[str]) -> None:
    assert driftline(*words).code == 2


def test_what_cannot_be_inspected_is_one_message(tmp_path: Path) -> None:
    failed(driftline("inspect", str(tmp_path / "nowhere")), "nowhere: there is no such folder")
    (tmp_path / "adapter_config.json").write_bytes((SOUND / "adapter_config.json").read_bytes())
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x80\x04}.\n\n\n\n")
    failed(driftline("inspect", str(tmp_path)), "a pickle, as torch.save writes")
    failed(driftline("inspect", str(SOUND), "--base", str(tmp_path)), "model.safetensors: ")


def test_nothing_that_runs_models_is_loaded() -> None:
    ran = process("inspect", str(SOUND), environ={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip() for line in ran.err.splitlines()}
    assert ran.code == 0
    assert "numpy" in loaded
    assert not loaded & {"torch", "safetensors", "peft", "transformers", "scipy.stats"}


def test_status_tells_of_the_weights_of_the_version_in_charge(tmp_path: Path) -> None:
    """A whole service inspects what is registered, within seconds."""
    folder = damaged(tmp_path / "zeroed")
    with running(tmp_path / "service") as service:
        service.register("weighed", "v1", uri=str(folder))
        path = "/v1/adapters/weighed/versions/v1"
        until(lambda: service.get(path)["weights"], "the weights are inspected")
        told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.key}
        ran = driftline("status", "weighed", environ=told, cwd=tmp_path)
        [event] = service.events("weights_inspected")
    assert ran.code == 0
    assert "weights suspect: the update of 7 modules is zero" in ran.out
    assert (event["level"], event["version"]) == ("warning", "weighed@v1")
