import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.formats import LARGEST_BODY, WebhookBody, alertmanager_body, body_of, driftline_body
from alerts.message import Links, ScoreLine
from alerts.types import Kind, Status
from tests.alert_samples import FULL, NOON, a_change, an_alert


def ours(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(driftline_body(an_alert(**changes)))
    return body


def theirs(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(alertmanager_body(an_alert(**changes)))
    return body


def test_the_driftline_body_keeps_its_documented_fields() -> None:
    body = ours()
    assert set(body) == {
        *("schema", "firing", "truncated", "id", "number", "kind", "adapter", "version"),
        *("status", "severity", "verdict", "blame", "summary", "reason", "at", "started_at"),
        *("recovered_at", "onset", "scores", "requests", "unlike", "action", "changes", "links"),
        *("owner", "tier", "labels", "examples", "late", "test", "together", "new"),
        *("closing", "notification_reason", "group", "retraining", "unseen", "update", "known_as"),
        *("cause", "brief", "per_second", "alone_on", "answers_as", "mend", "part_of"),
    }
    assert (body["schema"], body["truncated"]) == ("driftline.alert.v1", False)
    assert body["scores"][0] == {
        "detector": "logit_ks",
        "value": 0.41,
        "winner": "mean_nll:up",
        "evidence": 1.6,
        "process": "page",
        "effect": 0.38,
        "interval": [0.31, 0.45],
        "minimum_detectable": 0.1,
        "n": 412,
        "words": "answers less certain",
        "clause": "",
        "gloss": "Certainty is the probability that the model gives to the words it answers.",
        **dict.fromkeys(("count", "of", "usual", "times")),
    }
    assert body["scores"][1]["evidence"] is None
    assert datetime.fromisoformat(body["at"]) == NOON


def test_examples_go_first_when_the_body_is_too_large() -> None:
    crowded = [ScoreLine(detector=f"detector_{i}", value=0.1, n=7) for i in range(50)]
    body = ours(examples=tuple("😀" * 200 for _ in range(60)), scores=tuple(crowded))
    assert body["truncated"] is True
    assert 0 < len(body["examples"]) < 20
    assert len(body["scores"]) == 50
    assert body["changes"] != []


@pytest.mark.parametrize("form", list(WebhookBody))
@given(
    letter=st.sampled_from(["a", '"', "\\", "\n", "\x00", "é", "\u2028", "😀"]),
    many=st.integers(1, 400),
    long=st.integers(1, 5_000),
)
def test_no_alert_exceeds_the_largest_body(
    form: WebhookBody, letter: str, many: int, long: int
) -> None:
    text = letter * long
    name = letter * min(long, 128)
    body = body_of(
        an_alert(
            adapter=name,
            version=name,
            owner=name,
            summary=text,
            reason=text,
            examples=(text,) * many,
            changes=(a_change(text),) * many,
            scores=(ScoreLine(detector="d" * 60, winner="w" * 60, value=1 / 3, n=7),) * many,
            labels={f"{i}{text}": text for i in range(min(many, 60))},
            links=Links(incident=text, dashboard=text, runbook=text),
        ),
        form,
    )
    assert len(body) < LARGEST_BODY
    json.loads(body)


def test_the_alertmanager_body_is_a_version_4_webhook() -> None:
    # Fields of Alertmanager's template.Data and template.Alert, and of webhook.Message:
    # https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    body = theirs()
    assert set(body) == {
        *("version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels"),
        *("commonLabels", "commonAnnotations", "externalURL", "alerts", "notificationReason"),
    }
    assert (body["version"], body["status"]) == ("4", "firing")
    alert = body["alerts"][0]
    assert set(alert) == {
        *("status", "labels", "annotations", "startsAt", "endsAt"),
        *("generatorURL", "fingerprint"),
    }
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert alert["labels"] == {
        "alertname": "DriftlineDrift",
        "adapter": "support",
        "version": "v7",
        "severity": "page",
        "blame": "adapter",
        "owner": "search",
        "tier": "gold",
        "team": "nlp",
    }
    assert alert["annotations"]["runbook_url"] == "https://wiki.example/support"


def test_a_recovery_resolves_the_very_alert_that_was_opened() -> None:
    end = NOON + timedelta(hours=2)
    opened = theirs()["alerts"][0]
    closed = theirs(status=Status.RECOVERED, recovered_at=end)
    assert closed["status"] == closed["alerts"][0]["status"] == "resolved"
    assert closed["alerts"][0]["fingerprint"] == opened["fingerprint"]
    assert datetime.fromisoformat(closed["alerts"][0]["endsAt"]) == end
    other = theirs(id="driftline:support@v7:drift:4")["alerts"][0]
    assert other["fingerprint"] != opened["fingerprint"]


def test_labels_cannot_pose_as_another_adapter() -> None:
    labels = theirs(labels={"adapter": "billing", "severity": "ticket"})["commonLabels"]
    assert (labels["adapter"], labels["severity"]) == ("support", "page")


def test_each_kind_has_an_alert_name_of_its_own() -> None:
    names = {theirs(kind=kind)["commonLabels"]["alertname"] for kind in Kind}
    assert len(names) == len(Kind)


def test_text_of_users_is_in_the_driftline_examples_only() -> None:
    assert FULL.examples[0] in json.dumps(ours())
    assert FULL.examples[0] not in json.dumps(theirs())
    assert FULL.examples[0] not in json.dumps(ours(examples=()))


def test_changes_are_listed_with_their_facts_and_in_plain_words() -> None:
    said = "11:00 UTC engine change: vLLM 0.33 (began 10 min before the onset)"
    [change] = ours()["changes"]
    assert change == {
        "kind": "engine",
        "title": "vLLM 0.33",
        "begun_at": "2026-03-04T11:00:00Z",
        "ended_at": "2026-03-04T11:10:00Z",
        "author": "deploys",
        "text": said,
    }
    assert f"Declared nearby: {said}." in theirs()["alerts"][0]["annotations"]["likely_cause"]
    assert "Declared" not in theirs(changes=())["alerts"][0]["annotations"]["likely_cause"]
