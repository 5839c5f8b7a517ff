"""What is known of signals stands in one table, and of detectors in their files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Integer, SmallInteger
from sqlalchemy.dialects.postgresql import REAL

from detectors import DETECTORS
from detectors.profile import DetectorSide
from detectors.signals import SIGNALS, Guarding, SignalKind, main_signal
from monitor.store.tables.records import records

ROOT = Path(__file__).parents[2]
COLUMNS = {
    SignalKind.NUMBER: REAL,
    SignalKind.INTEGER: Integer,
    SignalKind.CODE: SmallInteger,
    SignalKind.FLAG: Boolean,
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_a_column_of_its_kind_or_is_worked_out(name: str) -> None:
    signal = SIGNALS[name]
    assert signal.kind.stored is (signal.kind in COLUMNS)
    assert signal.kind.stored is (name in records.c)
    if signal.kind.stored:
        assert type(records.c[name].type) is COLUMNS[signal.kind]


@pytest.mark.parametrize("name", SIGNALS)
def test_the_part_of_a_record_is_shown_by_a_signal_measured_from_it(name: str) -> None:
    part = SIGNALS[name].part
    assert part is None or SIGNALS[part.shown_by].part is part


def test_what_guards_every_canary_is_what_pages_at_once() -> None:
    always = {name for name, one in SIGNALS.items() if one.guarding is Guarding.ALWAYS}
    hard = {name for one in DETECTORS.values() if one.hard for name in one.signals}
    assert hard - always == {"loop"}, "loops are frequent enough to be compared as a share"
    assert always < hard


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_reads_signals_of_the_table_or_what_people_name(name: str) -> None:
    detector = DETECTORS[name]
    assert {*detector.signals} <= {*SIGNALS}
    assert {*detector.profile.telling} <= {*detector.signals}
    assert (main_signal(detector) is None) is (detector.profile.side is DetectorSide.FEEDBACK)


def test_no_rule_names_a_detector() -> None:
    """Names that are no signal's as well, so that a column or a field is not taken for a rule."""
    names = {*DETECTORS} - {*SIGNALS} - {"errors", "feedback"}
    assert "logit_ks" in names
    assert [
        f"{path.relative_to(ROOT)}:{line}"
        for package in ("monitor", "alerts")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in _naming(path, names)
    ] == []


def _naming(path: Path, names: set[str]) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in names:
            yield node.lineno
