"""The demo's real adapters, scored on this machine, through the whole evaluation."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from alerts.types import Blame, VerdictKind
from examples.texts import Domain, corpus
from examples.weights import BASE, DemoAdapter
from monitor.domain import Version
from monitor.probes.asking import local_folder
from monitor.probes.corpus import Corpus, CorpusRole, Document
from monitor.probes.embedding import Dtype
from monitor.probes.local import LocalProbe, LocalSettings
from tests.probed_fleet import Fleet

WEIGHTS = "adapter_model.safetensors"


def texts_of(domain: Domain, role: CorpusRole) -> Corpus:
    documents = tuple(
        Document(id=f"{domain.value}-{i}", text=text) for i, text in enumerate(corpus(domain)[:30])
    )
    return Corpus(name=domain.value, documents=documents, role=role)


@pytest.fixture(scope="module")
def local() -> Iterator[LocalProbe]:
    probe = LocalProbe(
        LocalSettings(base=str(BASE), dtype=Dtype.FLOAT32),
        texts_of(Domain.GENERAL, CorpusRole.GENERAL),
        domains={
            "demo-support": texts_of(Domain.SUPPORT, CorpusRole.DOMAIN),
            "demo-booking": texts_of(Domain.BOOKING, CorpusRole.DOMAIN),
        },
    )
    yield probe
    probe.close()


@pytest.fixture
def fleet(world: Any, local: LocalProbe) -> Fleet:
    """No reference anywhere: what is told comes from the models alone."""
    world.rows("UPDATE \"references\" SET state = 'failed', error = 'test' RETURNING 1")
    return Fleet(world, local)


@pytest.fixture
def support(fleet: Fleet, tmp_path: Path) -> Version:
    """A version in a folder of its own, registered and probed."""
    folder = tmp_path / "support v1"
    shutil.copytree(DemoAdapter.SUPPORT_V1.path, folder)
    version = fleet.register("demo-support", uri=folder.as_uri())
    fleet.probe(version)
    return version


def replaced(version: Version, tensors: dict[str, torch.Tensor]) -> None:
    folder = local_folder(version.uri or "")
    assert folder is not None
    save_file(tensors, folder / WEIGHTS)


def test_a_real_adapter_is_applied_and_unchanged(fleet: Fleet, support: Version) -> None:
    identity = fleet.score(support).details["identity"]
    assert identity["state"] == "applied"
    assert identity["kl"] > 0.01
    fleet.later(support)
    assert fleet.verdict(support).kind is VerdictKind.LEARNING
    assert fleet.score(support).value == pytest.approx(0.0, abs=1e-9)


def test_a_real_adapter_that_does_nothing_is_not_applied(fleet: Fleet, support: Version) -> None:
    tensors = load_file(DemoAdapter.SUPPORT_V1.path / WEIGHTS)
    nothing = {n: t * 0 if "lora_B" in n else t for n, t in tensors.items()}
    replaced(support, nothing)
    fleet.later(support)
    told = fleet.verdict(support)
    assert told.blame is Blame.SERVING
    assert "not applied: it answers as the base does" in told.reason
    assert fleet.score(support).details["identity"]["nll_difference"] == pytest.approx(
        0.0, abs=1e-3
    )


def test_a_neighbours_weights_are_named(fleet: Fleet, support: Version) -> None:
    booking = fleet.register("demo-booking", uri=str(DemoAdapter.BOOKING_V1.path))
    fleet.probe(booking)
    replaced(support, load_file(DemoAdapter.BOOKING_V1.path / WEIGHTS))
    fleet.later(support)
    told = fleet.verdict(support)
    assert told.blame is Blame.SERVING
    assert fleet.score(support).details["identity"]["sibling"] == "demo-booking"


def test_a_damaged_adapter_pages_and_is_blamed(fleet: Fleet, support: Version) -> None:
    tensors = load_file(DemoAdapter.SUPPORT_V1.path / WEIGHTS)
    replaced(support, {n: t * 4 if "lora_B" in n else t for n, t in tensors.items()})
    fleet.later(support)
    told = fleet.verdict(support)
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert "base model unchanged" in told.reason
    assert "wrong weights" in told.reason
