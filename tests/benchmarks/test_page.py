import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.row import Figure, Goal, Row, at_least, at_most, from_json, to_json
from benchmarks.table import number, render
from benchmarks.timing import interleaved

TEXT = st.text(max_size=20)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
FIGURES = st.builds(Figure, what=TEXT, value=FINITE, unit=TEXT)
GOALS = st.builds(Goal, text=TEXT, value=FINITE, unit=TEXT, met=st.booleans())
ROWS = st.builds(
    Row,
    number=st.integers(1, 16),
    metric=TEXT,
    ours=FIGURES,
    goals=st.lists(GOALS, max_size=3).map(tuple),
    peers=st.lists(FIGURES, max_size=3).map(tuple),
    limit=st.none() | FIGURES,
    note=TEXT,
)


def row(place: int, *goals: Goal, note: str = "") -> Row:
    ours = Figure(what="ours", value=1.0, unit="ms")
    return Row(number=place, metric=f"metric {place}", ours=ours, goals=goals, note=note)


@given(ROWS)
def test_a_row_survives_the_way_from_the_process_that_measured_it(made: Row) -> None:
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


@pytest.mark.parametrize(("value", "met"), [(2.99, False), (3.0, True), (3.01, True)])
def test_at_least_includes_its_floor(value: float, *, met: bool) -> None:
    assert at_least("3 x the peer", value=value, floor=3.0, unit="x").met is met


@pytest.mark.parametrize(("value", "met"), [(2.99, True), (3.0, True), (3.01, False)])
def test_at_most_includes_its_ceiling(value: float, *, met: bool) -> None:
    assert at_most("3 ms", value=value, ceiling=3.0, unit="ms").met is met


def test_a_missed_goal_is_said_and_counted() -> None:
    missed = at_most("5 ms", value=9.0, ceiling=5.0, unit="ms")
    kept = at_least("2 x the peer", value=4.0, floor=2.0, unit="x")
    page = render([row(2, missed, kept)], seeds={}, failures={})
    assert "**1 of 2 goals met.**" in page
    assert "| ≤ 5 ms | 9 ms | **no** |" in page
    assert "| ≥ 2 x the peer | 4 x | yes |" in page


def test_rows_stand_in_the_order_of_the_goals_and_name_what_did_not_run() -> None:
    page = render(
        [row(9), row(1, note="scaled")],
        seeds={"fleet": 1},
        failures={"startup": "the service did not start"},
    )
    assert page.index("metric 1") < page.index("scaled") < page.index("## Did not run")
    assert "- startup: the service did not start" in page
    assert "fleet 1" in page


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        pytest.param("s CPU", "peer: 0.2 x<br>limit: 10 x", id="a time: less is cheaper"),
        pytest.param("/CPU-s", "peer: 5 x<br>limit: 0.1 x", id="a rate: more is cheaper"),
    ],
)
def test_a_ratio_is_one_of_costs(unit: str, shown: str) -> None:
    made = Row(
        number=1,
        metric="m",
        ours=Figure(what="ours", value=10.0, unit=unit),
        peers=(
            Figure(what="peer", value=2.0, unit=unit),
            Figure(what="other", value=2.0, unit="MB"),
        ),
        limit=Figure(what="bound", value=1.0, unit=unit),
        goals=(at_most("20", value=10.0, ceiling=20.0, unit=unit),),
    )
    assert shown in render([made], seeds={}, failures={}).replace("\N{MULTIPLICATION SIGN}", "x")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.00274, "0.00274"), (26.81, "26.8"), (122_400.7, "122,401"), (1e-16, "1e-16")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_every_case_runs_once_a_round_and_each_round_begins_with_another() -> None:
    called: list[str] = []
    spent = interleaved(
        {name: lambda name=name: called.append(name) for name in "abc"},  # type: ignore[misc]
        rounds=3,
    )
    assert spent.keys() == {"a", "b", "c"}
    rounds = ["".join(called[i : i + 3]) for i in range(0, len(called), 3)]
    assert rounds == ["cab", "abc", "bca", "cab"]  # the first one warms up
