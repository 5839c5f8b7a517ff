"""Ways of the benchmark of broken adapters that serve something else, or otherwise."""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.adapters import experiment
from benchmarks.adapters.command import NOBODY_TO_PLAY, main
from benchmarks.adapters.divergence import INFINITE, divergence
from benchmarks.adapters.tasks import task
from benchmarks.adapters.ways import FAMILIES, QUICK, WAYS, chosen
from benchmarks.adapters.ways.way import OfEngine, OfServing, Setup


@dataclass(frozen=True, kw_only=True)
class Names:
    """A shelf that has only names."""

    adapter: str = "bank"
    base: Path = Path("base")

    def version(self, name: str, *, of: str | None = None) -> Path:
        return Path(f"{of or self.adapter}-{name}")

    def nothing(self) -> Path:
        return Path("nothing")

    def on_revision(self) -> Path:
        return Path("on-revision")

    def revision(self) -> Path:
        return Path("revision")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("base-under-the-name", "nothing"),
        ("other-adapter", "concierge-v2"),
        ("stale-version", "bank-v1"),
        ("stale-prefix-cache", "concierge-v2"),
        ("wrong-base-revision", "on-revision"),
        ("half-trained", "bank-half-trained"),
        ("over-trained", "bank-over-trained"),
    ],
)
def test_another_folder_is_served_under_the_name(name: str, folder: str) -> None:
    [way] = chosen([name])
    assert isinstance(way.fault, OfServing)
    assert way.fault.choose(Names()) == Path(folder)
    assert way.fault.cached is (name == "stale-prefix-cache")


@pytest.mark.parametrize(
    ("config", "usual"),
    [({"rope_parameters": {"rope_theta": 1e6}}, 1e6), ({"rope_theta": 5e5}, 5e5), ({}, 1e4)],
)
def test_patched_kernels_turn_positions_otherwise_than_any_base(
    tmp_path: Path, config: dict[str, Any], usual: float
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    [way] = chosen(["patched-kernels"])
    assert isinstance(way.fault, OfEngine)
    changed = way.fault.change(Setup(model=tmp_path), Names()).config
    assert changed["rope_parameters"]["rope_theta"] == usual / 10


def test_each_engine_differs_in_one_thing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    setup = Setup(model=tmp_path)
    changed = {
        way.name: way.fault.change(setup, Names())
        for way in WAYS
        if isinstance(way.fault, OfEngine)
    }
    assert {changed["other-dtype"].dtype, setup.dtype} == {"bfloat16", "float32"}
    assert changed["other-base"].model == Path("revision")
    assert "--kv-cache-dtype" in changed["quantised-kv-cache"].arguments
    assert "rope_theta" in str(changed["patched-kernels"].config)
    assert changed["restart"] == changed["replica-added"] == setup
    broken = {name: other for name, other in changed.items() if other != setup}
    assert len({str(setup) for setup in broken.values()}) == len(broken) == 4


def test_there_are_ways_of_every_family_with_names_of_their_own() -> None:
    assert len(WAYS) == len({way.name for way in WAYS})
    assert len(WAYS) >= 24
    named = ["weights", "serving", "prompts", "traffic", "clients", "harmless", "engine"]
    assert list(FAMILIES) == named
    assert all(way.harmless == (way.family == "harmless") for way in WAYS)
    assert not any(way.expected.moved for way in WAYS if way.family in FAMILIES[2:])


def test_ways_are_chosen_by_name_or_family_and_those_with_another_engine_come_last() -> None:
    assert {way.name for way in chosen(["traffic", "restart"])} > {"bots", "restart"}
    quick = [way.name for way in chosen(QUICK)]
    assert quick == [*(name for name in QUICK if name != "not-a-number"), "not-a-number"]
    assert [way.name for way in chosen([]) if way.poisons] == [chosen([])[-1].name]
    last = [isinstance(way.fault, OfEngine) for way in chosen([]) if not way.poisons]
    assert last == sorted(last)
    with pytest.raises(ValueError, match="no way or family nonsense"):
        chosen(["nonsense"])


def test_divergence_is_the_mean_kl_in_nats() -> None:
    # KL((3/4, 1/4) || (1/2, 1/2)) = 3/4 ln 3/2 + 1/4 ln 1/2
    p = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
    q = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    assert divergence(p, q) == pytest.approx(0.130812 / 2, rel=1e-4)
    assert divergence(p, torch.full_like(p, torch.nan)) == INFINITE


@dataclass(kw_only=True)
class KeepsByPath:
    """An engine that reads a prompt's cache again while its adapter stays at one path."""

    keeps: bool = True
    loaded: list[str] = field(default_factory=list)
    cached: set[tuple[Path, str]] = field(default_factory=set)
    path: Path = Path()
    cache_hits: int = 0

    def load(self, _: str, folder: Path) -> None:
        self.path = folder
        self.loaded.append((folder / "weights").read_text())

    def unload(self, _: str) -> None:
        self.path = Path()

    def forget(self) -> None:
        self.cached.clear()

    def ask(self, question: str) -> None:
        asked = (self.path, question)
        self.cache_hits += asked in self.cached
        if self.keeps:
            self.cached.add(asked)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folders of wrong weights and of the right ones."""

    def ask(engine: KeepsByPath, _model: str, messages: list[dict[str, str]], _body: Any) -> None:
        engine.ask(messages[0]["content"])

    monkeypatch.setattr(experiment, "ask_engine", ask)
    folders = (tmp_path / "wrong", tmp_path / "right")
    for folder in folders:
        folder.mkdir()
        (folder / "weights").write_text(folder.name)
    return folders


def in_place(engine: Any, weights: tuple[Path, Path]) -> AbstractContextManager[None]:
    wrong, right = weights
    return experiment.served_wrongly(engine, "bank", wrong, right=right, cached=True)


def test_right_weights_answer_on_the_cache_of_wrong_ones(weights: tuple[Path, Path]) -> None:
    engine = KeepsByPath()
    with in_place(engine, weights):
        assert engine.loaded == ["wrong", "right"]
        before = engine.cache_hits
        engine.ask(task("bank").live[0].prompt)
        assert engine.cache_hits == before + 1
    assert (engine.loaded[-1], engine.path, engine.cached) == ("right", weights[1], set())


def test_a_cache_that_was_forgotten_breaks_nothing_and_is_refused(
    weights: tuple[Path, Path],
) -> None:
    engine = KeepsByPath(keeps=False)
    with pytest.raises(RuntimeError, match="has forgotten"), in_place(engine, weights):
        pytest.fail("it was played")
    assert engine.loaded[-1] == "right"


def test_ways_that_are_named_are_the_ways_of_a_quick_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick", "--ways", "no-such-way"]) == NOBODY_TO_PLAY
    assert "no way or family no-such-way" in capsys.readouterr().err
