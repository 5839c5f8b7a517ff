from typing import Any

import pytest

from alerts.matching import Matcher, parse_matcher, to_json
from alerts.message import Alert
from alerts.types import Severity
from tests.alert_samples import an_alert


def alert(**facts: Any) -> Alert:
    return an_alert(owner="search", tier="gold", labels={"team": "nlp", "env": "prod"}, **facts)


@pytest.mark.parametrize(
    ("match", "accepted"),
    [
        ({}, True),
        ({"owner": "search"}, True),
        ({"owner": "billing"}, False),
        ({"owner": ["billing", "search"]}, True),
        ({"tier": ["gold", "silver"], "severity": "page"}, True),
        ({"tier": "gold", "severity": "ticket"}, False),
        ({"severity": ["ticket", "page"]}, True),
        ({"labels": {"team": "nlp"}}, True),
        ({"labels": {"team": ["ops", "nlp"], "env": "prod"}}, True),
        ({"labels": {"team": "nlp", "env": "test"}}, False),
        ({"labels": {"missing": "nlp"}}, False),
        ({"adapter": "support", "kind": "drift"}, True),
        ({"adapter": ["billing"]}, False),
        ({"adapter": "support", "version": ["v6", "v7"]}, True),
        ({"version": "v6"}, False),
        ({"kind": ["no_data", "error"]}, False),
        ({"blame": ["adapter", "unknown"]}, True),
        ({"blame": "input"}, False),
        ({"owner": "Search"}, False),
        ({"owner": "sear"}, False),
    ],
    ids=str,
)
def test_every_condition_must_hold(match: dict[str, object], accepted: bool) -> None:  # noqa: FBT001
    assert parse_matcher(match).accepts(alert(severity=Severity.PAGE)) == accepted


def test_an_adapter_without_owner_satisfies_no_owner() -> None:
    assert not parse_matcher({"owner": "search"}).accepts(an_alert(owner=None))
    assert Matcher().accepts(an_alert(owner=None))


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ({"ownr": "x"}, "did you mean 'owner'"),
        ({"model": "v7"}, "no 'model'"),
        ({"kind": "drifting"}, "knows drift, no_data, blind, error, routing"),
        ({"blame": ["adapter", "weather"]}, "not 'weather'"),
        ({"severity": "critical"}, "not 'critical'"),
        ({"severity": []}, "non-empty list"),
        ({"owner": 7}, "string or a non-empty list"),
        ({"owner": ["a", 7]}, "string or a non-empty list"),
        ({"tier": None}, "string or a non-empty list"),
        ({"labels": "team=nlp"}, "must be a table"),
        ({"labels": {"team": 7}}, r"labels\.team"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(match: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_matcher(match)


def test_a_matcher_is_written_as_it_is_read() -> None:
    match = {
        "adapter": ["support"],
        "version": ["v7"],
        "owner": ["a", "b"],
        "severity": ["page"],
        "kind": ["drift", "error"],
        "blame": ["input"],
        "labels": {"team": ["nlp"]},
    }
    assert to_json(parse_matcher(match)) == match
    assert to_json(Matcher()) == {}
