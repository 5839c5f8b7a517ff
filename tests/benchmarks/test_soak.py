"""What a day of a fleet did: the trends, and their part of the page."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.live import soak_page
from benchmarks.live.soak import Soaked, Trend, trends

DAY = 1_000.0


def samples(**slopes: float) -> list[dict[str, float]]:
    """Make a day's samples around 100, that grow by so much a day, with noise of 1."""
    rng = np.random.default_rng(3)
    return [
        {"at": at} | {name: 100 + by * at / DAY + rng.normal() for name, by in slopes.items()}
        for at in np.arange(0.0, DAY, 5.0)
    ]


def test_what_grows_is_told_from_what_does_not() -> None:
    flat, grown = trends(samples(flat=0.0, grown=20.0), day=DAY)
    assert (flat.name, grown.name) == ("flat", "grown")
    assert flat.low < 0 < flat.high
    assert 0 < grown.low < 20 < grown.high
    assert grown.last - grown.first == pytest.approx(20 * 8 / 9 * 7 / 8, abs=1.0)


def test_the_beginning_is_left_out_and_a_constant_has_no_doubt() -> None:
    warm = [{**one, "threads": 10.0 if one["at"] < DAY / 10 else 42.0} for one in samples()]
    assert trends(warm, day=DAY) == [
        Trend(name="threads", unit="", first=42.0, last=42.0, slope=0.0, low=0.0, high=0.0)
    ]


def test_what_was_not_always_measured_has_no_trend() -> None:
    assert trends([*samples(a=0.0)[:-1], {"at": DAY}], day=DAY) == []


def test_the_part_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_page, "FILE", tmp_path / "soak.json")
    assert soak_page.section() == ""
    memory = Trend(name="memory", unit="MB", first=240, last=242, slope=2, low=-1, high=5)
    soak_page.keep(
        Soaked(
            adapters=200, minutes=48.0, records=800_000, lost=0, looks=307_200, late_s=1.25,
            dead_share=0.2, vacuums=31, trends=[memory],
        )
    )  # fmt: skip
    assert json.loads(soak_page.FILE.read_text())["trends"][0]["name"] == "memory"
    said = soak_page.section()
    assert "A day of 200 adapters passes in 48 minutes" in said
    assert "| memory | 240 MB | 242 MB | +2 MB (-1 to +5) |" in said
