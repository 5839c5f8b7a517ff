"""How far a reader walks from a claimed evaluation to its verdict, and never in a circle.

A stop is a function of `monitor/evaluate` or `monitor/policy` through which the evaluation reaches
the store, a detector's maths, the rules (`judge`) or the outbox; what only computes from its
arguments is read by its name. A climb is a stop in a file that the walk had left.
"""

import ast
import sys
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import Any

from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from tests.evaluate.test_fleet_incident import Nowhere

ROOT = Path(__file__).parents[2]
WALKED = ("monitor/evaluate/", "monitor/policy/")
REACHED = ("monitor/store/", "monitor/outbox/", "detectors/")
LOOKED_UP = tuple(
    f"detectors/{name}.py"
    for name in ("__init__", "profile", "signals", "faults", "textbook", "words")
)
"""Tables of what is known of detectors and signals: reading one is no stop."""
STRAIGHT = ("evaluate", "policy", "replay")
MOST_STOPS, MOST_CLIMBS = 30, 3


class Walk:
    """The stops of an evaluation in the order in which it comes by them."""

    def __init__(self) -> None:
        self.stops: list[tuple[str, str]] = []
        self.arrived = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or self.arrived:
            return
        file, name = _place(frame)
        if (file.startswith(REACHED) and file not in LOOKED_UP) or name == "judge":
            self._come_by(frame)
        self.arrived = (file, name) == ("monitor/store/evaluation/verdicts.py", "put_all")

    def _come_by(self, frame: FrameType | None) -> None:
        chain = []
        while frame is not None:
            chain.append(_place(frame))
            frame = frame.f_back
        for stop in reversed(chain):
            if stop[0].startswith(WALKED) and stop not in self.stops:
                self.stops.append(stop)

    @property
    def climbs(self) -> list[tuple[str, str]]:
        files = [file for file, _ in self.stops]
        return [
            stop
            for place, stop in enumerate(self.stops)
            if place and stop[0] != files[place - 1] and stop[0] in files[:place]
        ]


def _place(frame: FrameType) -> tuple[str, str]:
    file = Path(frame.f_code.co_filename)
    inside = file.is_relative_to(ROOT)
    name = frame.f_code.co_qualname.partition(".<locals>")[0]
    return (str(file.relative_to(ROOT)) if inside else "", name)


def test_from_claim_to_verdict_it_is_a_straight_line(world: Any) -> None:
    tell = Messages(
        channels=[ConfiguredChannel(name="all", channel=Nowhere())],
        preview=lambda *_: None,
        doubts=lambda *_: {},
    )
    evaluator = world.evaluator(tell=tell)
    for shift in (0.0, 0.0, 2.0):
        world.send(80, shift=shift)
        world.make_due()
        claim = world.claim()
        walk = Walk()
        sys.setprofile(walk)
        try:
            evaluator.evaluate(claim)
        finally:
            sys.setprofile(None)
    assert [row.after for row in world.rows("SELECT after FROM transitions ORDER BY id")] == [
        "stable",
        "critical",
    ]
    assert walk.arrived
    print(f"{len(walk.stops)} stops in {len({file for file, _ in walk.stops})} files")
    assert 15 < len(walk.stops) <= MOST_STOPS, walk.stops
    assert len(walk.climbs) <= MOST_CLIMBS, walk.climbs


def test_modules_of_an_evaluation_and_a_replay_do_not_import_each_other_in_a_circle() -> None:
    """Wherever an import stands: for the type checker alone, or inside a function."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for package in STRAIGHT
        for file in (ROOT / "monitor" / package).rglob("*.py")
    }
    graph = {name: _imported(file, files) - {name} for name, file in files.items()}
    assert len(graph) > 50
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def _imported(file: Path, known: Mapping[str, Path]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{one.name}" for one in node.names}
            found |= {one if one in known else node.module for one in names}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found & known.keys()
