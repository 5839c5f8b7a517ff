import json
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import types
from alerts.message import Alert, Onset, ScoreLine, finite, from_json, to_json
from tests.alert_samples import FULL, NOON, an_alert

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.none()
lines = st.builds(
    ScoreLine,
    detector=st.text(max_size=20),
    value=numbers,
    winner=st.none() | st.text(max_size=20),
    evidence=numbers,
    effect=numbers,
    interval=st.none() | st.tuples(numbers, numbers),
    n=st.integers(0, 10**6),
)


@given(
    scores=st.lists(lines, max_size=4).map(tuple),
    status=st.sampled_from(types.Status),
    kind=st.sampled_from(types.Kind),
    summary=st.text(max_size=100),
    labels=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
)
def test_an_alert_survives_being_stored(**changes: Any) -> None:
    alert = an_alert(**changes)
    assert from_json(json.loads(json.dumps(to_json(alert)))) == alert


def test_numbers_that_json_cannot_write_are_stored_as_absent() -> None:
    stored = to_json(FULL)
    line = from_json(stored).scores[1]
    assert line.evidence is None
    assert json.loads(json.dumps(stored, allow_nan=False)) == stored


@pytest.mark.parametrize(
    "damage",
    [
        {"severity": "email"},
        {"status": "flapping"},
        {"at": "2026-03-04T12:00:00"},
        {"number": "three"},
        {"adapter": None},
        {"scores": [{"value": 1.0}]},
    ],
    ids=str,
)
def test_a_damaged_alert_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an alert"):
        from_json(to_json(FULL) | damage)


def test_only_a_recovered_incident_is_no_longer_firing() -> None:
    firing = {status for status in types.Status if an_alert(status=status).firing}
    assert firing == set(types.Status) - {types.Status.RECOVERED}


def test_an_onset_without_an_estimate_is_the_middle_of_its_interval() -> None:
    onset = Onset(earliest=NOON, latest=NOON + timedelta(minutes=40))
    assert (onset.best, onset.half_width) == (
        NOON + timedelta(minutes=20),
        timedelta(minutes=20),
    )
    late = replace(onset, estimate=NOON + timedelta(minutes=30))
    assert late.half_width == timedelta(minutes=30)


@given(
    st.recursive(
        st.floats() | st.text() | st.none() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_whatever_is_made_finite_can_be_written_as_json(value: object) -> None:
    assert json.loads(json.dumps(finite(value), allow_nan=False)) == finite(value)


def test_finite_keeps_what_is() -> None:
    assert finite({"a": (1.5, math.nan, [math.inf, -math.inf])}) == {"a": [1.5, None, [None, None]]}


def test_every_alert_field_is_in_the_sample() -> None:
    empty = {name for name, value in to_json(FULL).items() if value in (None, [], {}, "")}
    # open, of one version among others that changed, compared, checked, no request for programs
    assert empty == {"recovered_at", "closing", "together", "retraining", "unseen", "alone_on"} | {
        *("update", "known_as"),  # the first message
        *("mend", "part_of", "answers_as"),
    }
    assert isinstance(FULL, Alert)
