"""Where the rule applies, without a database: routes, targets of fallbacks, the hub's cache."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from examples.weights import BASE, DemoAdapter
from monitor.domain import AdapterId, Arm, ArmKind, Route, Version, VersionId
from monitor.probes.weights.hub import base_folder
from monitor.probes.weights.inspection import inspect_folder
from monitor.traffic.fallback.targets import choose_targets
from monitor.traffic.table import newly_barred
from tests.weights.folders import factors, write_adapter

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BARRED = {"v2": "is not admitted yet"}


def route(*arms: Arm, on_expiry: ArmKind = ArmKind.STABLE, ends: bool = False) -> Route:
    return Route(
        adapter="support",
        generation=1,
        arms=arms,
        reason="",
        since=NOW,
        valid_until=NOW if ends else None,
        on_expiry=on_expiry,
    )


def arm(kind: ArmKind, version: str, weight: float) -> Arm:
    return Arm(arm=kind, version=version, model=version, weight=weight)


V1, V2 = arm(ArmKind.STABLE, "v1", 1.0), arm(ArmKind.CANARY, "v2", 0.1)
FALLBACK = (arm(ArmKind.STABLE, "v1", 1.0), arm(ArmKind.FALLBACK, "v2", 0.0))


def test_a_route_gives_a_barred_version_nothing() -> None:
    assert newly_barred(None, route(V1), BARRED) == []
    [said] = newly_barred(route(V1), route(V1, V2), BARRED)
    assert said == "v2 is not admitted yet: driftline admit support v2"
    assert newly_barred(route(V1), route(V1, V2), {}) == []


def test_what_answers_already_keeps_its_traffic() -> None:
    more = arm(ArmKind.STABLE, "v2", 1.0)
    assert newly_barred(route(V1, V2), route(more), BARRED) == []


def test_a_shadow_answers_nobody_and_the_heir_of_a_route_will() -> None:
    shadow = arm(ArmKind.SHADOW, "v2", 0.0)
    assert newly_barred(route(V1), route(V1, shadow), BARRED) == []
    ends = route(*FALLBACK, on_expiry=ArmKind.FALLBACK, ends=True)
    assert len(newly_barred(route(V1), ends, BARRED)) == 1
    assert newly_barred(route(V1), route(*FALLBACK), BARRED) == []


def test_no_fallback_goes_to_a_barred_version() -> None:
    known = [_version(name, parent="v1" if name == "v2" else None) for name in ("v1", "v2")]
    found = choose_targets(
        known[1],
        registered=known,
        history=[],
        verdicts={},
        abandoned=frozenset(),
        barred={"v1": "was refused at its admission"},
    )
    assert (found.usable, found.refused) == ((), ("v1 was refused at its admission",))


def _version(name: str, *, parent: str | None) -> Version:
    return Version(
        id=VersionId(1),
        adapter_id=AdapterId(1),
        adapter="support",
        name=name,
        model=name,
        parent=parent,
        registered_at=NOW,
    )


# --- the base's files ---------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the hub with one snapshot, as its client lays it out."""
    model = tmp_path / "hub" / "models--acme--base"
    (model / "snapshots" / "abc1234").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc1234", encoding="ascii")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "revision"),
    [
        ("acme/base", None),
        ("hf://acme/base", None),
        ("hf://acme/base@abc1234", None),
        ("hf://acme/base@main", "gone"),
        ("acme/base", "abc1234"),
    ],
)
def test_a_snapshot_is_found_in_the_hubs_cache(
    cache: Path, named: str, revision: str | None
) -> None:
    snapshot = cache / "hub" / "models--acme--base" / "snapshots" / "abc1234"
    for environ in ({"HF_HOME": str(cache)}, {"HF_HUB_CACHE": str(cache / "hub")}):
        assert base_folder(named, revision=revision, environ=environ) == snapshot


@pytest.mark.parametrize(
    ("named", "revision"),
    [
        ("acme/base", "other"),
        ("acme/other", None),
        ("acme/base", "../../../../etc"),
        ("../acme/base", None),
        ("/no/such/folder", None),
        ("s3://acme/base", None),
        ("", None),
    ],
)
def test_what_is_not_there_is_not_found(cache: Path, named: str, revision: str | None) -> None:
    assert base_folder(named, revision=revision, environ={"HF_HOME": str(cache)}) is None


def test_a_path_is_the_folder_itself(tmp_path: Path) -> None:
    assert base_folder(str(tmp_path), environ={}) == tmp_path


# --- distances ----------------------------------------------------------------------------


def test_the_distance_from_the_parent_is_that_of_the_whole_matrices(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    (a, b), (c, d) = factors(rng, rank=4), factors(rng, rank=2)
    names = (f"{name}.lora_A.weight", f"{name}.lora_B.weight")
    folder = write_adapter(tmp_path / "one", dict(zip(names, (a, b), strict=True)))
    parent = write_adapter(
        tmp_path / "two", dict(zip(names, (c, d), strict=True)), r=2, lora_alpha=2
    )
    [found] = inspect_folder(folder, parent=parent).modules
    x, y = 2.0 * b @ a, 1.0 * d @ c
    assert found.parent_norm == pytest.approx(float(np.linalg.norm(y)), rel=1e-6)
    assert found.parent_distance == pytest.approx(float(np.linalg.norm(x - y)), rel=1e-6)


def test_equal_updates_are_no_distance_apart() -> None:
    path = DemoAdapter.TRAVEL_V1.path
    found = inspect_folder(path, base=BASE, parent=path)
    for one in found.modules:
        assert one.parent_distance == pytest.approx(0.0, abs=1e-6 * (one.frobenius or 0.0))
    assert found.strangers == 0
