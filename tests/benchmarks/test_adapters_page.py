"""The page of a drawn run: what is counted, what is missed, and how it is told."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks.adapters.clients import FRESH
from benchmarks.adapters.command import SOONER
from benchmarks.adapters.contestants import plain
from benchmarks.adapters.contestants.entry import write as write_entry
from benchmarks.adapters.contestants.experiment import folders, load
from benchmarks.adapters.outcome import Seen, outcome
from benchmarks.adapters.outcome import Told as Message
from benchmarks.adapters.page import pictures, promised, results
from benchmarks.adapters.page.columns import Column, cell, columns, false_alarms
from benchmarks.adapters.page.command import DOCS, main, write
from benchmarks.adapters.page.goals import Goal, goals
from benchmarks.adapters.page.promised import Promise, of_the_probe, promises
from benchmarks.adapters.page.results import (
    FILE,
    Ours,
    Repeat,
    Results,
    Theirs,
    Told,
    Tool,
    Way,
    collect,
    joined,
)
from benchmarks.adapters.page.writing import page
from benchmarks.adapters.service import CONFIG, probe_cycle
from tests.benchmarks.adapter_run import BROKEN, CALM, START, driftline, synthetic


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = synthetic(tmp_path_factory.mktemp("adapters") / "run")
    for folder in folders(made):
        for name, rule in plain.PLAIN.items():
            write_entry(plain.run(rule, load(made, folder)), folder / f"{name}.json")
    return made


def experiment(requests: int | None = None, *, kl: float | None = 0.3, **seen: Any) -> Repeat:
    told = None if requests is None else Told(requests, 40.0, "perplexity", 2)
    ours = Ours(
        ticket=None,
        page=told,
        moved=None,
        false_before=0,
        blame="adapter" if told else None,
        causes=("adapter",) if told else (),
        confidence=None,
        answered_broken=0,
        probes=0,
        cpu_s=0.0,
    )
    return Repeat(
        adapter="support",
        calm=CALM,
        asked=BROKEN,
        broken=BROKEN,
        kl=kl,
        seen=True,
        moved=False,
        promises=[Promise("answers", "logit_ks", 0.0, False, None)],
        driftline=replace(ours, **seen),
        tools={},
    )


def way(*repeats: Repeat, family: str = "weights", harmless: bool = False) -> Way:
    return Way(
        way="a_way",
        family=family,
        harmless=harmless,
        says="What it is.",
        blame=() if harmless else ("adapter",),
        repeats=repeats,
    )


def of(*ways: Way, silence: dict[str, Any] | None = None, **run: Any) -> Results:
    head = {"model": "m", "engine": "e", "commit": "c", "seed": 1, "machine": "x"}
    head |= {"adapters": ["support"], "requests": 100}
    return Results(
        run={**head, "started_at": START.isoformat(), **run},
        silence=silence,
        tools={},
        ways=ways,
    )


def goal(found: Results, begins: str) -> Goal:
    return next(one for one in goals(found) if one.text.startswith(begins))


def test_a_run_is_read_with_all_that_was_said_of_it(run: Path) -> None:
    found = collect(run)
    assert [one.way for one in found.ways] == ["alpha_doubled", "gone", "resaved"]
    first = found.ways[0].repeats[0]
    assert (first.calm, first.broken) == (CALM, BROKEN)
    assert first.driftline.page is not None
    assert (first.driftline.page.requests, first.driftline.page.by) == (32, "perplexity")
    assert first.driftline.first == first.driftline.ticket
    assert set(found.tools) == set(plain.PLAIN)
    assert found.ways[1].repeats[0].tools["errors"].requests == 50


def test_results_survive_their_file_and_stay_small(run: Path, tmp_path: Path) -> None:
    found = collect(run)
    path = tmp_path / "results" / "adapters.json"
    results.store(found, path)
    assert results.load(path) == found
    # three ways here; thirty ways of three runs and nine tools have 60 kB for themselves
    assert path.stat().st_size < 3 * 1_500 + 2_000


def test_a_run_of_several_sittings_is_gathered_without_drawing_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "sittings.json"
    asked = ["--into", str(run), "--results", str(kept)]
    before = FILE.read_bytes()
    for _ in range(2):  # the first sitting finds nothing to add to
        assert main([*asked, "--add"]) == 0
    assert [one.way for one in results.load(kept).ways] == ["alpha_doubled", "gone", "resaved"]
    assert FILE.read_bytes() == before
    assert "harmless changes are silent" in capsys.readouterr().out


def test_what_the_harness_writes_down_is_what_is_read(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "run")
    broken_at = datetime.fromisoformat(
        json.loads((run / "gone" / "0" / "truth.json").read_text())["broken_at"]
    )
    body = {"status": "opened", "severity": "page", "adapter": "support", "blame": "serving"}
    seen = Seen(
        adapters=frozenset({"support"}),
        broken_at=broken_at,
        told=[
            Message(at=broken_at + timedelta(seconds=9), body=body | {"reason": "404"}),
            Message(at=broken_at + timedelta(seconds=12), body=body | {"adapter": "sales"}),
        ],
        others_moved=["sales"],
        moved=None,
        broken=[broken_at + timedelta(seconds=second) for second in range(20)],
        probes=[broken_at],
        cpu_s=2.0,
        incidents=(),
        blame_now="serving",
    )
    said = outcome(seen) | {"clients": {"asked": 25}}
    (run / "gone" / "0" / "driftline.json").write_text(json.dumps(said))
    [gone] = [one for one in collect(run).ways if one.way == "gone"]
    assert gone.repeats[0].asked == 25
    found = gone.repeats[0].driftline
    assert found.page == Told(10, 9.0, None, 1)  # a 404 crosses no detector
    assert found.others == 2
    assert (found.confidence, found.blame, found.named) == (
        "confirmed",
        "serving",
        frozenset({"serving"}),
    )
    assert (found.first, found.answered_broken) == (found.ticket, 20)


def test_an_experiment_that_driftline_has_not_finished_is_left_out(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "run")
    (run / "gone" / "0" / "driftline.json").unlink()
    assert [one.way for one in collect(run).ways] == ["alpha_doubled", "resaved"]


def test_a_page_counts_within_a_hundred_requests_a_cycle_or_by_the_first_probe() -> None:
    by_probe = Told(300, 80.0, "probe", 1)
    by_second = Told(300, 120.0, "probe", 2)
    beside = Told(300, 80.0, "records", 1, probed=True)
    late = Told(300, 80.0, "records", 0)  # no probe has ended, and none made this page
    ways = way(
        experiment(100),
        experiment(101),
        experiment(1, page=by_probe),
        experiment(1, page=by_second),
        experiment(1, page=late),
        experiment(None),
        experiment(1, page=beside),
    )
    asked = goal(of(ways), "faults of weights")
    assert (asked.held, asked.of, asked.met) == (3, 7, False)
    assert list(asked.missed) == ["a_way/1", "a_way/3", "a_way/4", "a_way/5"]
    assert goal(of(ways, probe_cycle_s=60.0), "faults of weights").held == 4, "within 40 s"


def test_the_page_says_by_which_clause_pages_came_in_time() -> None:
    ways = way(experiment(100), experiment(90), experiment(1, page=Told(300, 80.0, "probe", 1)))
    said = page(of(ways))
    assert "The first goal's pages came: 2 within the requests, 1 with the first probe." in said
    assert "Without its last clause it is held in 2 of 3" in said
    assert "2 of 3: with the first probe pages came 80 s after the break" in said
    assert "The first goal's pages" not in page(of(way(experiment(None))))


def test_faults_too_small_or_of_other_families_are_not_asked_to_page() -> None:
    small = way(experiment(None, kl=0.01))
    topic = way(experiment(None, kl=1.0), family="traffic")
    assert goal(of(small, topic), "faults of weights").met is None


def test_blame_counts_where_something_was_told() -> None:
    wrong = experiment(20, blame="input", causes=("input",))
    told = way(*[experiment(20)] * 19, wrong, experiment(None))
    for begins in ("the blame", "a cause is named"):
        asked = goal(of(told), begins)
        assert (asked.held, asked.of, asked.met) == (19, 20, True)


@pytest.mark.parametrize(
    ("causes", "held"),
    [
        (("unknown", "adapter"), 1),
        (("unknown",), 0),
        (("input", "adapter"), 0),
        (("adapter", "base"), 0),
    ],
)
def test_a_cause_may_come_later_but_never_a_wrong_one(causes: tuple[str, ...], held: int) -> None:
    assert goal(of(way(experiment(20, causes=causes))), "a cause is named").held == held


def test_a_route_moved_for_traffic_and_a_harmless_page_are_missed_goals() -> None:
    topic = way(experiment(20, moved=Told(30, 60.0)), family="traffic")
    resaved = way(experiment(20), experiment(None), family="harmless", harmless=True)
    found = of(topic, resaved)
    assert goal(found, "no route").missed == ["a_way/0"]
    assert goal(found, "harmless").missed == ["a_way/0"]
    said = page(found)
    assert "**moved after 30**" in said
    assert "| 0 of 1 | **no** | 0 % | `a_way` |" in said
    assert "| 1 of 2 | **no** | 2.5 % | `a_way` |" in said


def test_adapters_that_a_fault_does_not_hit_are_to_be_left_alone() -> None:
    def beside(others: int | None) -> Repeat:
        told = experiment(20)
        return replace(told, driftline=replace(told.driftline, others=others))

    asked = goal(of(way(beside(0), beside(2), beside(None))), "adapters that")
    assert (asked.held, asked.of, asked.missed) == (1, 2, ["a_way/1"])


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        ((10, 30, 20), "20"),
        ((10, 30, None), "30 (2/3)"),
        ((10, None, None), "1/3"),
        ((None, None), "-"),
        ((10, None), "1/2"),
    ],
)
def test_a_cell_is_the_median_where_most_runs_alarmed(
    pages: tuple[int | None, ...], words: str
) -> None:
    told = columns(of())[1]
    assert cell(way(*map(experiment, pages)), told).words == words


def test_resampled_silence_is_a_goal_where_it_was_counted(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "run")
    assert collect(run).silence is None
    loud = [
        {"adapter": "bank", "run": run, "told": ["ticket"], "crossed": ["ks"]} for run in (3, 9)
    ]
    body = {"runs": 300, "requests": 220, "silent": 298, "by": loud}
    (run / "silence.json").write_text(json.dumps(body))
    asked = goal(collect(run), "healthy traffic")
    assert (asked.held, asked.of, asked.met) == (298, 300, True)
    assert asked.sure == pytest.approx(0.979, abs=5e-4)
    assert "| 97.9 % | `bank: ks` \u00d7 2 |" in page(collect(run))
    loud[1]["told"] = ["page", "ticket"]
    (run / "silence.json").write_text(json.dumps(body))
    assert "`bank: ks`, `bank: ks, a page` |" in page(collect(run))
    assert "Resampled" not in page(collect(run)), "a run of an older benchmark counted no adapters"
    body |= {"commit": "c0ffee", "by_adapter": {"bank": 100, "maths": 200}}
    (run / "silence.json").write_text(json.dumps(body))
    said = (
        "Resampled (at `c0ffee`), healthy traffic was silent for `bank` 98 of 100 and `maths` 200"
    )
    assert said in page(collect(run))


@pytest.mark.parametrize(
    ("left", "held"),
    [(Told(requests=60, seconds=85.0), 1), (Told(requests=90, seconds=85.1), 0), (None, 0)],
)
def test_traffic_that_leaves_long_after_its_page_left_late(left: Told | None, held: int) -> None:
    paged = replace(experiment(40, moved=left), moved=True)
    assert paged.driftline.page is not None
    found = of(way(paged), probe_cycle_s=45.0)
    asked = goal(found, "that traffic leaves within 45 s")
    assert (asked.held, asked.of) == (held, 1)
    assert ("Traffic left later than it should." in page(found)) is (held == 0)


@pytest.mark.parametrize(
    ("requests", "words"),
    [("220 to 220", "resampled, 220 a run"), ("180 to 220", "resampled, 180 to 220 a run")],
)
def test_the_size_of_a_resampled_run_is_told_once_where_all_are_alike(
    requests: str, words: str
) -> None:
    silence = {"runs": 300, "requests": requests, "silent": 300}
    assert words in goal(of(silence=silence), "healthy traffic").text


def test_the_page_says_what_the_first_message_of_all_named() -> None:
    late = experiment(20, causes=("unknown", "adapter"))
    wrong = experiment(20, causes=("input", "adapter"))
    said = page(of(way(experiment(20), late, wrong, experiment(None))))
    assert "named a right cause in 1 of 3; in 1 it said that the cause is not known yet." in said
    assert "The very first message" not in page(of(way(experiment(None))))


def test_the_page_lists_adapters_and_commits_in_full() -> None:
    said = page(of(adapters=["a", "b", "c"], commit="38df6553, 89218b85-dirty"))
    assert "each on one of `a`, `b` and `c`;" in said
    assert "Driftline at `38df6553` and `89218b85-dirty`;" in said
    assert "each on `a`;" in page(of(adapters=["a"]))


def test_the_healthy_requests_that_all_experiments_share_leave_out_the_fresh_ones() -> None:
    said = page(of(way(experiment(20))))
    assert f"The same {CALM - FRESH} healthy requests of an adapter" in said


def test_a_fault_that_hardly_differs_is_told_as_such_where_it_is_unseen() -> None:
    close = way(replace(experiment(None, kl=0.001), seen=False, probe_moved=0.905))
    assert (
        "it hardly differs from the approved version: the probe moved by 90 % of the line at most"
    ) in page(of(close))
    assert "not known yet" in page(of(way(experiment(None))))


def test_a_reason_that_people_know_stands_beside_a_way_that_was_not_seen() -> None:
    stale = replace(way(experiment(None, kl=0.045), family="serving"), way="stale-prefix-cache")
    assert "a probe's texts are never read from the cache" in page(of(stale))


def test_the_sureness_on_the_page_is_that_of_the_first_page() -> None:
    assert "whether that of its first page, or ticket, was confirmed." in page(
        of(way(experiment(20)))
    )


def test_a_run_has_the_probe_cycle_that_it_was_played_with() -> None:
    usual = f'perplexity_interval = "{probe_cycle({}).total_seconds():g}s"'
    assert usual in CONFIG.read_text(encoding="utf-8")
    assert probe_cycle(SOONER) == timedelta(seconds=25)


def test_ways_that_were_not_played_are_named_with_the_reason(run: Path) -> None:
    said = page(collect(run)).partition("## Not played")[2].partition("\n## ")[0]
    assert (
        "| `quantised-kv-cache`: keys and values are kept in 8 bits |"
        " ProcessFailedError: engine / died |"
    ) in said
    assert "| `restart`: the engine is restarted as it was | this run has nothing of it |" in said


def test_a_way_that_is_played_anew_did_not_fail() -> None:
    failed = {"a_way/0": "no engine", "other/0": "no engine"}
    stored, new = of(failed=failed), of(way(experiment(3)), failed={"third/0": "killed"})
    assert set(joined(stored, new).run["failed"]) == {"other/0", "third/0"}


def test_the_plan_is_held_against_the_evidence_of_the_same_records(run: Path) -> None:
    doubled, resaved = (
        promises(load(run, run / way / "0"))[0] for way in ("alpha_doubled", "resaved")
    )
    assert doubled.size is not None
    assert doubled.size >= 2.0
    assert doubled.promised
    assert doubled.told is not None
    assert doubled.told <= 60
    assert resaved.size is not None
    assert resaved.size < 0.5
    assert (resaved.promised, resaved.told) == (False, None)
    # nothing was measured of requests that all failed
    gone = promises(load(run, run / "gone" / "0"))
    assert [one.kind for one in gone] == [
        "all answers less certain, by perplexity",
        "all answers shorter",
        "all answers more diffuse, by entropy",
        "all requests longer",
    ]
    assert [one.kind for one in gone if one.promised] == []


def test_a_fault_that_moves_few_answers_beside_a_limit_is_small() -> None:
    """Six of ten answers end at a limit: when four do, the median falls and little else."""
    ordered = np.sort(np.log1p(np.repeat([12.0, 16.0], [160, 240])))
    known = np.log1p(np.repeat([12.0, 16.0], [60, 40]))
    assert promised.size_of(ordered, known, sd=0.15, falls=True) < 0.4
    assert promised.size_of(ordered, np.log1p(known * 0.0 + 8.0), sd=0.15, falls=True) > 3.0
    assert promised.size_of(ordered, known, sd=0.15, falls=False) == 0.0


def test_the_page_says_what_the_plan_promised_and_what_came() -> None:
    kept = replace(experiment(20), promises=[Promise("certain", "logit_ks", 3.0, True, 15)])
    missed = replace(experiment(20), promises=[Promise("certain", "logit_ks", 2.0, True, None)])
    other = replace(experiment(20), promises=[Promise("certain", "logit_ks", 0.3, False, 30)])
    found = of(way(kept, missed, other))
    said = page(found)
    assert "| certain | 2 | 1 | 1 | 1 |" in said
    asked = goal(found, "what `driftline plan` promises")
    assert (asked.held, asked.of, asked.met) == (1, 2, None)  # too few to say


def test_the_page_sets_what_was_wrong_before_beside_this_run() -> None:
    mended = replace(way(experiment(20)), way="over-trained")
    lost = replace(way(experiment(None)), way="alpha-doubled")
    same = replace(way(experiment(20)), way="sign-flipped")
    said = page(of(mended, lost, same, way(experiment(3))))
    before = said.partition("## Before and after")[2].partition("\n## ")[0]
    assert "The blame of the first page, or of the first ticket" in before
    assert "right in 23 of 28 ways" in before
    assert "| `over-trained` | `6c35b96a` | 46 (31 s) | 60 (93 s) | **unknown** |" in before
    assert "|  | this run | - | 20 (40 s) | adapter | stays | 0 of" in before
    assert "| `alpha-doubled` | `e446ce05` |" in before
    assert "## Before and after" not in page(of(way(experiment(3))))


def test_the_page_says_how_much_broken_versions_answered_until_traffic_left_them() -> None:
    due = [
        replace(way(replace(experiment(20, moved=Told(count, 60.0)), moved=True)), way=name)
        for name, count in (("alpha-halved", 70), ("alpha-doubled", 90))
    ]
    said = page(of(*due))
    assert "`alpha-halved` kept all of their traffic then." in said
    assert "answered 80 requests until it left, 90 at most; it left 2 of 2." in said


def test_blindness_in_a_harmless_change_is_loud() -> None:
    harmless = way(experiment(None, blind=1), experiment(None), family="harmless", harmless=True)
    assert goal(of(harmless), "harmless").missed == ["a_way/0"]


def test_tools_stand_beside_each_other_with_driftline_first(run: Path) -> None:
    said = page(collect(run)).partition("## The other tools")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| ")]
    assert rows[2][0] == "| Driftline"
    assert rows[2][2:6] == ["1 of 2", "20", "0 of 1", "0"]
    (errors,) = [row for row in rows if row[0].startswith("| Errors only")]
    assert errors[2:4] == ["1 of 2", "50"]


def test_a_tool_that_was_not_run_has_an_empty_cell() -> None:
    absent = Column(title="t", did=lambda _: None)
    assert cell(way(experiment(3)), absent).words == ""
    assert false_alarms([way(experiment(3))], absent) is None


def test_false_alarms_are_told_by_the_healthy_requests_that_each_was_asked_of(run: Path) -> None:
    found = collect(run)
    told, page, *_ = asked = columns(found)
    errors = next(one for one in asked if one.title == "Errors only")
    assert false_alarms(found.ways, errors) == (0, 3 * CALM)
    assert false_alarms(found.ways, told) == (0, 3 * FRESH)
    assert false_alarms(found.ways, page) is None


def test_a_tool_without_a_window_of_requests_was_not_asked() -> None:
    hung_up = replace(experiment(None), broken=1, tools={"t": Theirs(None, 0, None)})
    found = replace(of(way(hung_up)), tools={"t": Tool(tool="T", version=None, settings="")})
    assert "| no tool had 50 requests |" in page(found)


@pytest.mark.parametrize(
    ("planned", "rise", "evidence", "expected"),
    [
        (0.05, 0.2, 1.0, (True, BROKEN)),
        (0.05, 0.2, -0.1, (True, None)),
        (0.05, 0.01, -0.1, (False, None)),
        (None, 0.2, 0.0, (False, BROKEN)),
    ],
)
def test_the_plan_of_the_probe_is_held_against_what_it_measured(
    planned: float | None, rise: float, evidence: float, expected: tuple[bool, int | None]
) -> None:
    scores = [{"detector": "perplexity", "value": rise, "evidence_notice": evidence}]
    [found] = of_the_probe({"fault": "perplexity", "size": planned}, scores, broken=BROKEN)
    assert found.size == rise
    assert (found.promised, found.told) == expected
    assert list(of_the_probe(None, scores, broken=BROKEN)) == []
    assert list(of_the_probe({"fault": "perplexity", "size": planned}, [], broken=BROKEN)) == []


def test_a_broken_version_that_keeps_its_traffic_is_a_missed_goal() -> None:
    left = replace(experiment(20, moved=Told(30, 60.0)), moved=True)
    kept = replace(experiment(20), moved=True)
    asked = goal(of(way(left, kept)), "traffic leaves")
    assert (asked.held, asked.of, asked.missed) == (1, 2, ["a_way/1"])


def test_ways_of_which_several_causes_are_right_are_named() -> None:
    one = replace(way(experiment(20)), blame=("adapter", "serving"))
    assert "confirmed; right is adapter or serving of `a_way`. *Answered*" in page(of(one))
    assert "confirmed. *Answered*" in page(of(way(experiment(20))))


def test_the_page_names_every_way_tool_and_goal_and_its_pictures_are_drawn(
    run: Path, tmp_path: Path
) -> None:
    found = collect(run)
    write(found, tmp_path)
    said = (tmp_path / "adapters-benchmark.md").read_text()
    for one in found.ways:
        assert f"| `{one.way}`: {one.says} |" in said
    for tool in found.tools.values():
        assert tool.settings in said
    assert said.count("| `gone` | - | 1 of 1 | KS by token") == 0
    assert "| `gone` | - | 1 of 1 | Errors only (50) | not known yet |" in said
    for name in ("adapters", "adapters-kl"):
        picture = (tmp_path / "pictures" / f"{name}.svg").read_text()
        assert f"(pictures/{name}.svg)" in said
        assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 (our own)


def test_what_is_published_is_drawn_from_the_stored_results(tmp_path: Path) -> None:
    write(results.load(), tmp_path)
    for name in ("adapters-benchmark.md", "pictures/adapters.svg", "pictures/adapters-kl.svg"):
        assert (DOCS / name).read_text() == (tmp_path / name).read_text(), name


def test_an_alarm_about_a_harmless_change_is_red(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "run")
    calm = pictures.heat_map(collect(run))
    at = START.isoformat()
    driftline(run / "resaved" / "0", page={"at": at, "requests": 9, "by": "perplexity"})
    red = pictures.heat_map(collect(run))
    assert red.count(pictures.WRONG) == calm.count(pictures.WRONG) + 2


def test_a_way_that_everybody_saw_is_not_among_the_unseen(run: Path) -> None:
    found = collect(run)
    seen = replace(found, ways=[one for one in found.ways if one.way != "gone"])
    assert "Nothing: every way was seen in every run." in page(seen)


def test_a_run_names_its_conditions(run: Path) -> None:
    head = json.loads((run / "run.json").read_text())
    said = page(collect(run))
    assert f"Model {head['model']}; engine {head['engine']};" in said
    assert f"seed {head['seed']}" in said


def test_a_second_run_replaces_the_ways_it_played_and_keeps_the_others() -> None:
    first = of(replace(way(experiment(40)), way="kept"), replace(way(experiment()), way="again"))
    second = of(replace(way(experiment(20)), way="again"), commit="d")

    both = joined(first, second)

    assert both.run["commit"] == "c"
    assert {one.way: one.commit for one in both.ways} == {"kept": None, "again": "d"}
    assert "Driftline at `c`;" in page(both)
    assert "Played at another commit: `again` at `d`." in page(both)
    assert {one.way: one.repeats[0].driftline.page for one in both.ways} == {
        "kept": Told(40, 40.0, "perplexity", 2),
        "again": Told(20, 40.0, "perplexity", 2),
    }


def test_runs_of_different_models_are_not_joined() -> None:
    with pytest.raises(ValueError, match="differs in model"):
        joined(of(way(experiment())), of(way(experiment()), model="another"))


def test_the_published_results_can_be_read_and_drawn() -> None:
    published = results.load()
    assert len(published.ways) >= 40
    drawn = page(published)
    assert drawn.count("\n| `") >= len(published.ways)
