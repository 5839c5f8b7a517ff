"""The page of fleets at work, from drawn costs; the fleets themselves are measured by hand."""

import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.live import looks_page, page, soak_page
from benchmarks.live.fleet import Cost
from benchmarks.statistics import page as statistics


def cost(adapters: int, **more: float) -> Cost:
    known = {
        "seconds": 300.0,
        "setup_cpu_s": 0.3,
        "service": 1.0 + adapters / 50,
        "postgres": adapters / 100,
        "memory_mb": 170.0,
        "records": 20 * adapters,
        "lost": 0,
        "evaluations": {"hard": 5 * adapters},
        "lag": {"hard": 1.5},
        "probes": 0,
        "disk_gb_a_day": 0.01 * adapters,
        "waits": {"/v1/adapters": 12.0, "/": 80.0, "/metrics": 9.0},
    }
    return Cost(**{"adapters": adapters, **known, **more})  # type: ignore[arg-type]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "fleet.json"
    monkeypatch.setattr(page, "FILE", file)
    monkeypatch.setattr(looks_page, "FILE", tmp_path / "looks.json")
    monkeypatch.setattr(soak_page, "FILE", tmp_path / "soak.json")
    monkeypatch.setattr(statistics, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(statistics, "PICTURES", tmp_path)
    statistics.PAGE.write_text(f"# Benchmarks\n\n{statistics.HEADING}\nmuch\n")
    return file


def test_costs_survive_their_file(stored: Path) -> None:
    assert page.known() == {}
    assert page.section() == ""
    stored.write_text(json.dumps([asdict(cost(10)), asdict(cost(100))]))
    assert page.known() == {10: cost(10), 100: cost(100)}


def test_the_part_is_written_once_and_leaves_the_others(stored: Path) -> None:
    stored.write_text(json.dumps([asdict(cost(100)), asdict(cost(10))]))
    page.write()
    page.write()
    said = statistics.PAGE.read_text()
    assert said.startswith("# Benchmarks\n")
    assert said.count(page.HEADING) == said.count(statistics.HEADING) == 1
    assert said.index(page.HEADING) < said.index(statistics.HEADING)
    assert said.endswith("much\n")
    rows = [line for line in said.splitlines() if line.startswith("| 10")]
    assert rows[0] == (
        "| 10 | 1.2 % | 0.1 % | 170 MB | 1.5 s | - | 200 | 0 | 0 | 0.30 s | 0.10 GB"
        " | 12, 80, 9 ms |"
    )
    assert rows[1].startswith("| 100 | 3.0 % | 1.0 % |")
    assert "A line through them: 1.0 % of a core, and 3.0 % more for every 100 adapters." in said
    drawn = (statistics.PICTURES / "fleet-live.svg").read_text()
    assert ET.fromstring(drawn).tag.endswith("svg")  # noqa: S314 (our own)


def test_one_size_alone_has_no_line_and_no_picture(stored: Path) -> None:
    stored.write_text(json.dumps([asdict(cost(10))]))
    page.write()
    assert "A line through them" not in statistics.PAGE.read_text()
    assert not (statistics.PICTURES / "fleet-live.svg").exists()


def test_others_are_given_the_looks_of_the_largest_fleet(stored: Path) -> None:
    stored.write_text(json.dumps([asdict(cost(10)), asdict(cost(600))]))
    looks_page.FILE.write_text(json.dumps({"a cron": 0.05}))
    said = page.section()
    assert "10.0 a second at 600 adapters" in said
    assert "| Driftline, all of the above | 19.0 ms | 19.0 % |" in said
    assert "| a cron | 50.0 ms | 50.0 % |" in said
