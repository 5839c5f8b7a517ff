"""Many versions replayed on Ray: the same to the digit as in one process, whatever the files."""

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from monitor.replay.errors import ReplayFailed
from monitor.replay.on_ray import refuse_too_much
from tests.cli.command import ROOT, driftline, failed, process
from tests.replay.conftest import Talk, Write

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ENVIRON = {"DRIFTLINE_SCHEDULE__HARD_INTERVAL": "4h", "DRIFTLINE_SCHEDULE__LIVE_INTERVAL": "4h"}
Lines = list[dict[str, Any]]


def traffic() -> Lines:
    """Two versions, of which one drifts on the last day; one of too few records; lines amiss."""
    lines: Lines = []
    for seed, (name, shift) in enumerate((("calm", 0.0), ("drifts", 2.0))):
        talk = Talk(seed=seed, adapter=name, version="v1")
        lines += talk.records(420, begin=BEGIN, over=10 * DAY)
        lines += talk.records(120, begin=BEGIN + 10 * DAY, over=DAY, shift=shift)
    lines += Talk(seed=7, adapter="rare").records(20, begin=BEGIN, over=11 * DAY)
    lines.sort(key=lambda one: one["at"])
    lines.insert(5, {"adapter": "timeless"})
    lines.insert(800, lines[800] | {"adapter": "positive", "token_logprobs": [0.7] * 24})
    return lines


def written(lines: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write lines into files of three kinds, and a file that is none beside them."""
    folder.mkdir()
    third = len(lines) // 3
    (folder / "a.jsonl").write_text("\n".join(json.dumps(one) for one in lines[:third]))
    rest = lines[third:]
    with gzip.open(folder / "b.jsonl.gz", "wt") as packed:
        packed.write("\n".join(json.dumps(one) for one in rest[:third]))
    parquet.write_table(pa.Table.from_pylist(rest[third:]), folder / "c.parquet")
    (folder / "README.md").write_text("not a log")
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """One process over one file, and two workers over three."""
    folder, lines = tmp_path_factory.mktemp("logs"), traffic()
    whole = folder / "whole.jsonl"
    whole.write_text("\n".join(json.dumps(one) for one in lines))
    given = ("--baseline-first", "8d", "--no-embeddings", "--json")
    alone = process("replay", str(whole), "--by-model", *given, environ=ENVIRON)
    spread = process(
        *("replay", str(written(lines, folder / "many")), "--ray", "2", *given), environ=ENVIRON
    )
    assert (alone.code, spread.code) == (4, 4), (alone, spread)
    return json.loads(alone.out), json.loads(spread.out)


def test_workers_find_to_the_digit_what_one_process_finds(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    alone, spread = both
    assert [one["name"] for one in alone["versions"]] == ["calm@v1", "drifts@v1"]
    assert spread["versions"] == alone["versions"]


def test_a_version_that_cannot_be_replayed_costs_only_itself(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    alone, spread = both
    assert list(spread["failed"]) == ["rare"]
    assert spread["failed"] == alone["failed"]


def test_bad_lines_are_counted_and_named_with_their_file(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    alone, spread = both
    assert (spread["file"]["lines"], spread["file"]["bad"]) == (alone["file"]["lines"], 2)
    timeless, positive = spread["file"]["first_bad"]
    assert (timeless["file"].rpartition("/")[2], timeless["line"]) == ("a.jsonl", 6)
    assert positive["file"].endswith("/many/c.parquet")
    reasons = [one["reason"] for one in alone["file"]["first_bad"]]
    assert [one["reason"] for one in (timeless, positive)] == reasons


def test_records_without_a_name_belong_to_the_only_version_and_broken_files_cost_themselves(
    tmp_path: Path,
) -> None:
    lines = [one for one in traffic() if one.get("version")]
    lines = [one for one in lines if one["adapter"] == "drifts"]
    at = (BEGIN + 11 * DAY).isoformat()
    nameless = {"request": {}, "response": {"error": {"code": 500}}, "at": at}
    folder = written([nameless, *lines], tmp_path / "many")
    (folder / "d.parquet").write_text("{}")
    packed = folder / "b.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-2_000])
    ran = process(
        *("replay", str(folder), "--ray", "1", "--baseline-first", "300", "--no-embeddings"),
        "--json",
        environ=ENVIRON,
    )
    assert ran.code == 4, ran
    found = json.loads(ran.out)
    [bad] = found["file"]["first_bad"]
    assert bad["file"].endswith("/b.jsonl.gz")
    assert bad["reason"].startswith("the rest cannot be read: ")
    [(path, why)] = found["failed"].items()
    assert path.endswith("/d.parquet")
    assert why.startswith("cannot be read as Parquet")
    [version] = found["versions"]
    assert version["name"] == "drifts@v1"
    assert version["last_at"] == datetime.fromisoformat(at).isoformat(timespec="seconds")
    assert 0 < version["records"] < len(lines) + 1 - 300


LISTENERS = """
import psutil
from monitor.replay.cluster import RayCluster
with RayCluster(workers=1).joined():
    import ray
    ray.get(ray.remote(lambda: 1).remote())
    every = [psutil.Process(), *psutil.Process().children(recursive=True)]
    told = [one for each in every for one in each.net_connections("tcp")]
    print(*{one.laddr.ip for one in told if one.status == psutil.CONN_LISTEN})
"""


def test_ray_listens_on_the_loopback_address_and_writes_nothing_at_home(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", LISTENERS], env=environ, capture_output=True, text=True, check=True
    )
    assert set(ran.stdout.split()) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert ran.stdout.split()
    assert list(tmp_path.iterdir()) == []


def test_a_version_for_which_no_node_has_the_memory_is_named() -> None:
    """A node that is gone has no resources."""
    nodes: list[dict[str, float]] = [{}, {"memory": 3e9}]
    refuse_too_much({"small@v1": 10**9}, nodes)
    with pytest.raises(
        ReplayFailed, match=r"large@v1 has 1\.1 GB of lines, and no node has 3 times"
    ):
        refuse_too_much({"small@v1": 10**9, "large@v1": 1_100_000_000}, nodes)


def test_strict_stops_at_the_first_bad_line_of_all_files(tmp_path: Path) -> None:
    folder = written(traffic(), tmp_path / "many")
    given = ("--ray", "1", "--baseline-first", "300", "--no-embeddings", "--strict")
    failed(process("replay", str(folder), *given), "/many/a.jsonl, line 6: has no time")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--ray needs --baseline-first"),
        (("--baseline-first", "9", "--html", "x.html"), "neither --baseline, --training, --html"),
        (("--baseline-first", "9"), "there is no such file, and no folder with files"),
    ],
)
def test_what_workers_cannot_do_is_said_before_they_start(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    failed(driftline("replay", str(tmp_path), "--ray", "2", *words, cwd=tmp_path), said)


def test_a_row_of_parquet_counts_as_the_line_it_would_be(tmp_path: Path, write: Write) -> None:
    """Times of pandas and numbers that are none included."""
    lines = [one for one in traffic() if one["adapter"] == "calm"]
    lines[500] |= {"token_logprobs": [float("nan")] * 24, "finish_reason": "stop"}
    frame = pd.DataFrame(lines).assign(at=[pd.Timestamp(one["at"]) for one in lines])
    frame.to_parquet(tmp_path / "log.parquet")
    assert str(frame.dtypes["at"]).startswith("datetime64")
    given = ("--baseline-first", "8d", "--no-embeddings", "--json")
    rows = driftline("replay", str(tmp_path / "log.parquet"), *given, environ=ENVIRON)
    text = driftline("replay", str(write("log.jsonl", lines)), *given, environ=ENVIRON)
    of_rows, of_text = json.loads(rows.out), json.loads(text.out)
    assert of_rows["versions"] == of_text["versions"]
    assert of_rows["file"]["first_bad"] == of_text["file"]["first_bad"]


def test_a_file_that_is_no_parquet_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_text("{}")
    ran = driftline("replay", str(tmp_path / "log.parquet"), "--baseline-first", "9")
    failed(ran, "log.parquet: cannot be read as Parquet")
