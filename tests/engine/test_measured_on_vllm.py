"""What the probe's floor lets pass and what it does not, and what a swap does to a run."""

import json
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from benchmarks.adapters.base import base_folder
from benchmarks.adapters.command import USUAL
from benchmarks.adapters.shelf import CachedShelf
from benchmarks.adapters.ways.harmless import saved_again
from detectors.perplexity import (
    CHANGED_FLOORS,
    SMALLEST_FLOOR,
    DocumentScores,
    PerplexityChange,
    compare,
    rounding_floor,
)
from examples.corrupt import Corruption, corrupt_adapter
from examples.texts import Domain, corpus
from examples.weights import MODELS
from monitor.probes.asking import Target
from monitor.probes.corpus import Corpus, Document
from monitor.probes.perplexity import LARGEST_ANSWER, PerplexityRun, PerplexitySettings
from monitor.probes.restraint import Restraint
from monitor.probes.serving import Engines, ServedProbe
from tests.engine.conftest import PYTHON, Vllm, started
from tests.loopback import LOOPBACK

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

HTTP = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=LARGEST_ANSWER))
OWN = "support@v1"
IN_FLOAT32 = CHANGED_FLOORS * SMALLEST_FLOOR
"""The line of a float32 engine whose repeats agree, nats per token."""
SOUND = MODELS / "support-v1"
CORPUS = Corpus(
    name="support",
    documents=tuple(
        Document(id=f"d{number}", text=text)
        for number, text in enumerate(corpus(Domain.SUPPORT, 30))
    ),
)


@pytest.fixture
def probe(vllm: Vllm) -> ServedProbe:
    return probe_of(vllm)


def probe_of(engine: Vllm) -> ServedProbe:
    return ServedProbe(
        general=CORPUS,
        engines=Engines([engine.url], HTTP, headers={}, restraint=Restraint(share=1.0)),
        http=HTTP,
        settings=PerplexitySettings(max_waiting=1_000),
    )


@pytest.fixture
def registered(probe: ServedProbe) -> list[DocumentScores]:
    return registration(probe, Target(model=OWN))


def registration(probe: ServedProbe, target: Target) -> list[DocumentScores]:
    """Three repeats, as a registration makes them."""
    backwards = replace(CORPUS, documents=CORPUS.documents[::-1])
    asked = ((probe, CORPUS), (probe, backwards), (probe.crowded(), backwards))
    return [scores(by.score(target, texts)) for by, texts in asked]


def scores(run: PerplexityRun) -> DocumentScores:
    assert run.stopped is None
    by_id = {one.document: one for one in run.documents}
    found = [by_id[document.id] for document in CORPUS.documents]
    return DocumentScores(
        sum_nll=np.array([one.sum_nll for one in found]),
        tokens=np.array([one.tokens for one in found], dtype=float),
        size_bytes=np.array([one.bytes for one in found], dtype=float),
    )


def moved(probe: ServedProbe, registered: list[DocumentScores]) -> PerplexityChange:
    run = probe.score(Target(model=OWN), CORPUS)
    return compare(registered, scores(run), least_floor=rounding_floor(run.dtype))


def test_saving_again_and_other_requests_stay_below_the_floor_and_damage_above_it(
    vllm: Vllm, probe: ServedProbe, registered: list[DocumentScores], tmp_path: Path
) -> None:
    beside = moved(probe.crowded(), registered)
    assert not beside.changed, beside.reasons
    corrupt_adapter(SOUND, tmp_path / "saved", seed=0, how=Corruption.SCALED)
    tensors = load_file(SOUND / "adapter_model.safetensors")
    again = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(again, tmp_path / "saved" / "adapter_model.safetensors", metadata={"format": "pt"})
    with vllm.instead(OWN, tmp_path / "saved"):
        saved = moved(probe, registered)
    assert not saved.changed, saved.reasons
    for how in (Corruption.ZEROED_LAYER, Corruption.PERMUTED, Corruption.NOISE):
        corrupt_adapter(SOUND, tmp_path / how, seed=7, how=how)
        with vllm.instead(OWN, tmp_path / how):
            damaged = moved(probe, registered)
        assert damaged.changed, (how, damaged.reasons)


@pytest.mark.timeout(2400)  # its first run trains an adapter for minutes
def test_a_real_adapter_saved_as_fp16_moves_far_in_bf16_and_is_unchanged(
    tmp_path: Path,
) -> None:
    """The trained adapter that the ways use; the move would be a change in a float32 engine."""
    if not PYTHON.is_file():
        pytest.skip("no vLLM here: `make engine` installs it into .venv-engine and runs this")
    cache, name = USUAL.resolve() / "cache", "bank@v2"
    cache.mkdir(parents=True, exist_ok=True)
    base = base_folder(cache)
    shelf = CachedShelf(cache=cache, base=base, adapter="bank")
    arguments = ("--model", str(base), "--dtype", "bfloat16", "--block-size", "32")
    served = ("--lora-modules", f"{name}={shelf.version('v2')}")
    with started(tmp_path / "vllm.log", *arguments, *served) as engine:
        probe, target = probe_of(engine), Target(model=name)
        known = registration(probe, target)
        engine.unload(name)
        engine.load(name, shelf.damaged("saved-again", saved_again))
        runs = [by.score(target, CORPUS) for by in (probe, probe.crowded())]
    changes = [compare(known, scores(run), least_floor=rounding_floor(run.dtype)) for run in runs]
    assert max(change.largest_move for change in changes) > IN_FLOAT32, changes
    assert not any(change.changed for change in changes), changes


def test_another_build_of_the_engine_stays_below_the_floor(
    registered: list[DocumentScores], tmp_path: Path
) -> None:
    """The same vLLM on the kernels of an older processor: the same sums in another order."""
    older = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    if torch.backends.cpu.get_cpu_capability() == "AVX2":  # this processor is that one
        older = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    with started(tmp_path / "vllm.log", **older) as other:
        run = probe_of(other).score(Target(model=OWN), CORPUS)
    rebuilt = scores(run)
    assert not np.array_equal(rebuilt.sum_nll, registered[0].sum_nll), "it computes otherwise"
    change = compare(registered, rebuilt, least_floor=rounding_floor(run.dtype))
    assert not change.changed, change.reasons


def test_another_alpha_makes_another_adapter_of_the_same_weights_file(
    vllm: Vllm, probe: ServedProbe, registered: list[DocumentScores], tmp_path: Path
) -> None:
    """One folder throughout, so that nothing but the config tells them apart."""
    folder = tmp_path / "adapter"
    shutil.copytree(SOUND, folder)
    config = json.loads((SOUND / "adapter_config.json").read_text())
    target = Target(model=OWN, folder=folder)
    with vllm.instead(OWN, folder):
        before = probe.score(target, CORPUS)
        for factor in (2.0, 0.5, 1.0):
            changed = config | {"lora_alpha": int(config["lora_alpha"] * factor)}
            (folder / "adapter_config.json").write_text(json.dumps(changed))
            vllm.unload(OWN)
            vllm.load(OWN, folder)
            other = probe.score(target, CORPUS)
            change = moved(probe, registered)
            assert (other.weights == before.weights) is (factor == 1.0)
            assert change.changed is (factor != 1.0), change.reasons


def test_weights_that_are_replaced_within_a_run_stop_it_and_others_are_told_apart(
    vllm: Vllm, probe: ServedProbe, broken: Path
) -> None:
    before = probe.score(Target(model=OWN), CORPUS)
    long = replace(CORPUS, documents=CORPUS.documents * 10)
    began = datetime.now(tz=UTC)

    def swap() -> None:
        # a request between the two would be answered 404, which stops the run as well
        vllm.http.post(
            "/v1/load_lora_adapter",
            json={"lora_name": OWN, "lora_path": str(broken), "load_inplace": True},
        ).raise_for_status()

    later = threading.Timer(0.5, swap)
    later.start()
    run = probe.score(Target(model=OWN), long)
    later.join()
    after = probe.score(Target(model=OWN), CORPUS)
    vllm.unload(OWN)
    vllm.load(OWN, SOUND)
    assert run.stopped == "the weights were replaced while they were measured"
    assert before.weights != after.weights
    assert probe.score(Target(model=OWN), CORPUS).weights == before.weights
    assert all(one.age < (datetime.now(tz=UTC) - began).total_seconds() for one in run.documents)
