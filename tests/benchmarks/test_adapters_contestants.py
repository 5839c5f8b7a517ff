"""Other tools on a drawn run: what each says, and what an entry of the leaderboard is."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.adapters.contestants import peers, plain
from benchmarks.adapters.contestants.command import main
from benchmarks.adapters.contestants.entry import Alarm, Entry, NotAnEntry, entry_of, read, write
from benchmarks.adapters.contestants.experiment import (
    COLUMNS,
    WINDOW,
    Experiment,
    Requests,
    Unreadable,
    folders,
    load,
)
from benchmarks.statistics.environments import FOLDER
from tests.benchmarks.adapter_run import CALM, experiment, log, records, synthetic

ENTRIES = st.builds(
    Entry,
    tool=st.text(min_size=1, max_size=20),
    version=st.none() | st.text(max_size=10),
    settings=st.text(max_size=20),
    alarm=st.none()
    | st.builds(Alarm, requests=st.integers(1, 10_000), at=st.none() | st.text(max_size=20)),
    false_before=st.integers(0, 1_000),
    cpu_s=st.none() | st.floats(0.0, 1e6),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic(tmp_path_factory.mktemp("adapters") / "run")


def of(run: Path, way: str) -> Experiment:
    return load(run, run / way / "0")


def stream(calm: int, broken: int) -> Experiment:
    total = calm + broken
    live = Requests(
        at=[str(place) for place in range(total)],
        table=np.zeros((total, len(COLUMNS))),
        tokens=[np.zeros(4)] * total,
    )
    return Experiment(folder=Path("way/0"), baseline=live, live=live, calm=calm)


@given(calm=st.integers(0, 200), broken=st.integers(0, 200))
def test_windows_are_whole_and_none_straddles_the_break(calm: int, broken: int) -> None:
    one = stream(calm, broken)
    windows = list(one.windows())
    assert len(windows) == calm // WINDOW + broken // WINDOW
    assert all(end - start == WINDOW for start, end in windows)
    assert not any(start < calm < end for start, end in windows)
    assert all(start >= 0 and end <= calm + broken for start, end in windows)


def test_an_alarm_counts_from_the_break_and_those_before_it_are_false() -> None:
    one = stream(calm=120, broken=100)
    said = {"tool": "t", "version": None, "settings": "", "cpu_s": 0.12345}
    seen = entry_of([70, 120, 170, 220], one, **said)  # type: ignore[arg-type]
    assert (seen.alarm, seen.false_before, seen.cpu_s) == (Alarm(requests=50, at="169"), 2, 0.123)
    assert entry_of([120], one, **said).alarm is None  # type: ignore[arg-type]


@given(entry=ENTRIES)
def test_an_entry_survives_its_file(entry: Entry, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "entry.json"
    write(entry, path)
    assert read(path) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"alarm": {"requests": 0, "at": None}},
        {"false_before": -1},
        {"tool": ""},
        {"colour": "red"},
        {"alarm": 7},
    ],
)
def test_what_is_no_entry_is_refused_by_name(change: dict[str, object], tmp_path: Path) -> None:
    body = {"tool": "t", "version": None, "settings": "", "alarm": None, "false_before": 0}
    path = tmp_path / "other.json"
    path.write_text(json.dumps(body | change))
    with pytest.raises(NotAnEntry, match=r"other\.json"):
        read(path)


def test_records_become_the_numbers_that_the_product_measures(run: Path) -> None:
    one = of(run, "gone")
    assert one.key == "gone/0"
    assert one.calm == CALM
    assert np.isfinite(one.live.table[:CALM]).all()
    failed = one.live.column("failed")
    assert (failed[:CALM].sum(), failed[CALM:].mean()) == (0.0, 1.0)
    assert np.isnan(one.live.column("mean_nll")[CALM:]).all()
    assert all(tokens.size == 0 for tokens in one.live.tokens[CALM:])


def test_a_file_that_is_no_log_is_refused_by_place(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "run")
    rng = np.random.default_rng(1)
    live = records(rng, CALM + 10)
    bad = experiment(run, "bad", [*live[:5], {**live[5], "at": "yesterday"}, *live[6:]])
    with pytest.raises(Unreadable, match="line 6"):
        load(run, bad)
    mixed = experiment(run, "mixed", live)
    path = mixed / "records.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(Unreadable, match="healthy record follows"):
        load(run, mixed)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("ks_request", "alpha_doubled"),
        ("ks_token", "alpha_doubled"),
        ("perplexity", "alpha_doubled"),
        ("errors", "gone"),
    ],
)
def test_a_plain_rule_sees_what_it_is_made_for_in_one_window(
    run: Path, name: str, way: str
) -> None:
    seen = plain.run(plain.PLAIN[name], of(run, way))
    assert seen.alarm is not None
    assert seen.alarm.requests == WINDOW


@pytest.mark.parametrize(
    ("name", "way"),
    [("perplexity", "gone"), ("ks_token", "gone"), ("errors", "alpha_doubled"), ("errors", "gone")],
)
def test_a_plain_rule_says_nothing_of_what_it_cannot_measure(
    run: Path, name: str, way: str
) -> None:
    seen = plain.run(plain.PLAIN[name], of(run, way))
    assert seen.false_before == 0 or name == "ks_token"
    assert (seen.alarm is None) == ((name, way) != ("errors", "gone"))


def test_tokens_of_one_answer_move_together_and_the_test_on_tokens_does_not_know(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    (tmp_path / "baseline").mkdir()
    log(tmp_path / "baseline" / "support.jsonl", records(rng, 400, spread=1.2))
    folder = experiment(tmp_path, "calm", records(rng, CALM + 20 * WINDOW, spread=1.2))
    one = load(tmp_path, folder)
    alarms = {
        name: sum(
            plain.PLAIN[name].alarms(one.baseline, one.live, start, end)
            for start, end in one.windows()
        )
        for name in ("ks_request", "ks_token")
    }
    # 22 windows: at 5 % more than 4 come by chance with probability .02; answers whose levels
    # differ a lot alarm the test on tokens in most windows
    assert alarms["ks_request"] <= 4
    assert alarms["ks_token"] > 11


@pytest.mark.slow
def test_evidently_enters_with_the_same_records_and_says_its_version(run: Path) -> None:
    found = {
        (one.key, peer.slug): entry
        for one, peer, entry in peers.run(
            "evidently", [of(run, way) for way in ("alpha_doubled", "resaved")]
        )
    }
    seen = found["alpha_doubled/0", "evidently_any"]
    assert seen.alarm is not None
    assert seen.alarm.requests == WINDOW
    assert seen.version is not None
    assert seen.cpu_s is not None
    assert found["resaved/0", "evidently"].alarm is None


def test_one_command_writes_the_entries_and_leaves_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PACKAGES", ())
    run = synthetic(tmp_path / "run")
    assert main(["--into", str(run)]) == 0
    for folder in folders(run):
        assert set(plain.PLAIN) <= {path.stem for path in folder.glob("*.json")}
    kept = run / "gone" / "0" / "errors.json"
    before = kept.stat().st_mtime_ns
    assert main(["--into", str(run)]) == 0
    assert kept.stat().st_mtime_ns == before
    assert main(["--into", str(run), "--again"]) == 0
    assert kept.stat().st_mtime_ns > before


@pytest.mark.slow
@pytest.mark.skipif(not (FOLDER / "nannyml").exists(), reason="peers are not installed here")
def test_every_peer_enters(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "run")
    assert main(["--into", str(run)]) == 0
    for folder in folders(run):
        assert {peer.slug for peer in peers.PEERS} <= {path.stem for path in folder.glob("*.json")}
