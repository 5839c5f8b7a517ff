"""`import folder`: a version is registered as its files say, and checked against them later."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest

from examples.weights import DemoAdapter
from monitor.domain import Scope
from monitor.probes.weights.described import dataset_hash, described
from monitor.probes.weights.errors import WeightsRefused
from monitor.store.database import Database
from tests.cli.command import Ran, driftline, failed
from tests.serving import Serving, serving

SOUND = DemoAdapter.SUPPORT_V1.path
STATE = {
    "epoch": 2.0,
    "global_step": 40,
    "best_metric": 0.31,
    "num_train_epochs": 2,
    "train_batch_size": 8,
    "log_history": [{"loss": 0.9}, {"eval_loss": 0.4}, {"eval_loss": 0.31, "step": 40}, "odd"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter as a trainer leaves it, with a pickle that must stay closed."""
    made = tmp_path / "support-v8"
    shutil.copytree(SOUND, made)
    (made / "trainer_state.json").write_text(json.dumps(STATE))
    (made / "chat_template.jinja").write_text("{{ messages }}")
    (made / "training_args.bin").write_bytes(pickle.dumps({"lr": 1}))
    return made


def test_a_folder_says_base_hashes_settings_and_metrics(folder: Path) -> None:
    found = described(folder)
    assert found.base_model == "driftline-demo-base"
    assert found.precision == "F16"
    assert (found.hyper_parameters["r"], found.hyper_parameters["lora_alpha"]) == (8, 16)
    assert found.hyper_parameters["num_train_epochs"] == 2
    assert found.metrics == {
        "epoch": 2.0,
        "global_step": 40,
        "best_metric": 0.31,
        "loss": 0.9,
        "eval_loss": 0.31,
    }
    assert found.template_hash == hashlib.sha256(b"{{ messages }}").hexdigest()
    assert found.tokenizer_hash is None


def test_a_checkpoints_state_may_lie_above_it(folder: Path) -> None:
    (folder / "trainer_state.json").rename(folder.parent / "trainer_state.json")
    assert described(folder).metrics["global_step"] == 40
    (folder.parent / "trainer_state.json").write_text("[]")
    with pytest.raises(WeightsRefused, match="is no JSON object"):
        described(folder)


def test_a_dataset_is_its_names_and_contents(tmp_path: Path) -> None:
    one = tmp_path / "one.jsonl"
    one.write_bytes(b"a")
    assert dataset_hash([one]) == hashlib.sha256(b"a").hexdigest()
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "b.jsonl").write_bytes(b"b")
    (data / "deep" / "c.jsonl").write_bytes(b"c")
    (data / "link").symlink_to("/etc/passwd")
    whole = dataset_hash([data])
    assert whole == dataset_hash([data])
    (data / "deep" / "c.jsonl").rename(data / "deep" / "d.jsonl")
    assert dataset_hash([data]) != whole
    assert dataset_hash([data, one]) == dataset_hash([one, data])
    with pytest.raises(WeightsRefused, match="there is no such file"):
        dataset_hash([tmp_path / "gone"])
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(WeightsRefused, match="there are no files"):
        dataset_hash([empty])


def test_a_version_is_registered_and_what_changed_is_named(
    database: Database, tmp_path: Path, folder: Path
) -> None:
    data = tmp_path / "train.jsonl"
    data.write_text("{}")
    with serving(database, tmp_path) as service:
        first = _import(service, str(folder), "support", "v8", "--dataset", str(data))
        same = _import(service, str(folder), "support", "v8", "--dataset", str(data), "--check")
        data.write_text("{} ")
        config = json.loads((folder / "adapter_config.json").read_text())
        config["lora_alpha"] *= 2
        (folder / "adapter_config.json").write_text(json.dumps(config))
        other = _import(service, str(folder), "support", "v8", "--dataset", str(data), "--check")
        again = _import(service, str(folder), "support", "v8")
        none = _import(service, str(tmp_path), "support", "v9")
        with service.client(Scope.READ) as client:
            found = client.get("/v1/adapters/support/versions/v8").json()
    assert (first.code, same.code) == (0, 0), (first, same)
    assert "support@v8 is registered" in first.out
    assert found["metadata"]["training_data_hash"] == hashlib.sha256(b"{}").hexdigest()
    assert found["metadata"]["metrics"]["eval_loss"] == 0.31
    assert found["uri"] == str(folder.resolve())
    assert other.code == 5
    assert "its weights or config changed: " in other.out
    assert "its dataset changed: " in other.out
    failed(again, "sha256")
    failed(none, "adapter_config.json")


def _import(service: Serving, *words: str) -> Ran:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.ADMIN]}
    return driftline("import", "folder", *words, environ=told)
