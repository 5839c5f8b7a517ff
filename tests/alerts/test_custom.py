"""Bodies by a template of the config: what is refused at the start, and what is sent."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from alerts.brief import brief
from alerts.channels import open_channel
from alerts.delivery import Channel, DeliveryFailed, GroupedChannel
from alerts.formats import WebhookBody
from alerts.grouped import group_body_of
from alerts.message import Alert, to_json
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.samples import sample_messages
from alerts.templating import LARGEST_RENDERED, BodyTemplate, TemplateRefused, checked
from alerts.types import Kind, Status
from tests.alert_samples import BLIND, FULL, an_alert
from tests.loopback import LOOPBACK, Receiver

ROOT = Path(__file__).resolve().parents[2]
CLIENT = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
PLAIN = "text/plain"
EMPTY: tuple[object, ...] = (None, "", 0, [], {}, False)
ALWAYS = {"id", "number", "kind", "adapter", "version", "status", "severity", "verdict", "blame"}
ALWAYS |= {"summary", "reason", "at", "started_at", "links", "tier", "notification_reason"}
HOSTILE = 'x"}\n{"forged": true} <b>{{ 7 * 7 }}{% raw %}</b>'


def opened(receiver: Receiver, template: str, **options: Any) -> Channel:
    return open_channel(
        "custom", {"url": receiver.url, "template": template, **options}, client=CLIENT
    )


def test_the_body_is_what_the_template_writes() -> None:
    template = "{{ brief.title }}\n{{ message_id }} {{ links.incident | default('', true) }}"
    with Receiver() as receiver:
        channel = opened(
            receiver, template, content_type="text/plain; charset=utf-8", authorization="Key abc"
        )
        channel.deliver(FULL, "msg_1")
    [seen] = receiver.seen
    assert seen.body.decode() == (
        "[PAGE] support@v7: answers less certain since 11:10 UTC; traffic moved to v6\n"
        "msg_1 https://driftline.example/incidents/3"
    )
    assert seen.headers["content-type"] == "text/plain; charset=utf-8"
    assert (seen.headers["authorization"], seen.headers["idempotency-key"]) == ("Key abc", "msg_1")


def _examples() -> dict[str, dict[str, Any]]:
    """Read the entries of the page, by their names."""
    page = (ROOT / "docs" / "channels.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```toml\n")[1:]]
    entries = [one for block in blocks for one in tomllib.loads(block).get("channels", ())]
    return {one["name"]: one for one in entries if one["kind"] == "custom"}


def test_the_example_of_the_page_works() -> None:
    template = checked(_examples()["ntfy"]["template"], content_type="application/json")
    found = json.loads(template.render([FULL], "m"))
    assert (found["title"], found["priority"]) == (brief(FULL).title, 5)


def test_the_fields_are_those_of_our_own_body() -> None:
    template = BodyTemplate(
        "{{ adapter }} {{ unseen.mend }} {{ scores | length }}", content_type=""
    )
    ours = json.loads(group_body_of([BLIND], WebhookBody.DRIFTLINE))
    assert template.render([BLIND], "m").decode() == (
        f"{ours['adapter']} {ours['unseen']['mend']} {len(ours['scores'])}"
    )


def test_several_incidents_are_in_its_group() -> None:
    lines = "{% if group %}{% for one in group.alerts %}{{ one.adapter }} {% endfor %}{% endif %}"
    with Receiver() as receiver:
        channel = opened(receiver, lines, content_type=PLAIN)
        assert isinstance(channel, GroupedChannel)
        channel.deliver_together([FULL, an_alert(adapter="billing")], "m")
    assert receiver.seen[0].body == b"support billing "


@pytest.mark.parametrize(
    ("content_type", "template", "wanted"),
    [
        ("application/json", '{"text": {{ summary | tojson }}}', None),
        ("application/vnd.x+json", "[{{ summary | tojson }}]", None),
        ("text/html", "<p>{{ summary }}</p>", "&lt;b&gt;"),
        (PLAIN, "{{ summary }}", HOSTILE),
        ("application/x-www-form-urlencoded", "text={{ summary | urlencode }}", "%3Cb%3E"),
    ],
)
def test_a_text_is_only_ever_a_text(content_type: str, template: str, wanted: str | None) -> None:
    body = checked(template, content_type=content_type).render([an_alert(summary=HOSTILE)], "m")
    if wanted is None:
        found = json.loads(body)
        assert (found if isinstance(found, list) else [*found.values()]) == [HOSTILE]
    else:
        assert wanted in body.decode()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% if %}", "line 1: Expected an expression"),
        ("a\n{{ summary | shout }}", "line 2: No filter named 'shout'"),
        ("a\nb\n{{ sumary }}", "line 3: 'sumary' is undefined .in a message of kind drift, status"),
        ("{{ sumary | tojson }}", "line 1: 'sumary' is undefined"),
        ("{{ onset.estimate }}", "line 1: 'None' has no attribute 'estimate'"),
        ("{% if kind == 'blind' %}\n{{ unseen.mended }}\n{% endif %}", "line 2: .*kind blind"),
        ("{% if status == 'recovered' %}{{ 1 / 0 }}{% endif %}", "division .*status recovered"),
        ("{{ labels.update({}) }}", "line 1: .*unsafe"),
        ("{{ ''.__class__.__mro__ }}", "line 1: .*unsafe"),
        ("{% include '/etc/passwd' %}", "line 1: no loader"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "line 1: maximum recursion"),
        ("{% for i in range(90000) %}{{ summary }}{% endfor %}", f"more than {LARGEST_RENDERED}"),
        ("{{ range(10 ** 9) | list }}", "line 1: Range too big"),
    ],
)
def test_a_wrong_template_is_refused_with_what_and_where(template: str, said: str) -> None:
    with pytest.raises(TemplateRefused, match=f"^template, .*{said}"):
        checked(template, content_type=PLAIN)


@pytest.mark.parametrize(
    "template",
    ['{"text": "{{ summary }}"}', "{{ summary | tojson }},", '{"a": {{ owner or "" }}}', ""],
)
def test_what_does_not_become_json_of_every_text_is_refused(template: str) -> None:
    with pytest.raises(TemplateRefused, match=r"does not become JSON near .*\| tojson"):
        checked(template, content_type="application/json; charset=utf-8")
    checked(template, content_type=PLAIN)


def test_samples_are_of_every_kind_and_status_and_of_several() -> None:
    samples = list(sample_messages())
    told = {(one.kind, one.status) for [one, *_] in samples}
    assert told >= {
        (kind, status) for kind in Kind for status in Status if status != "acknowledged"
    }
    assert max(map(len, samples)) > 1
    assert any(one.together for [one, *_] in samples)


def test_samples_have_every_field_of_a_message_and_lack_every_one_that_can_be_absent() -> None:
    samples = [to_json(one) for alerts in sample_messages() for one in alerts]
    names = {field.name for field in fields(Alert)}
    has = {name for name in names if any(one[name] not in EMPTY for one in samples)}
    lacks = {name for name in names if any(one[name] in EMPTY for one in samples)}
    assert names - has == set()
    assert names - lacks <= ALWAYS


def test_a_template_that_fails_on_one_message_refuses_it_and_shows_nothing_of_it() -> None:
    template = "{{ 1 / ((summary | length) - 9) }}"
    with Receiver() as receiver:
        channel = opened(receiver, template, content_type=PLAIN)
        channel.deliver(FULL, "m")
        with pytest.raises(DeliveryFailed) as caught:
            channel.deliver(an_alert(summary="no secret"), "m")
    assert len(receiver.seen) == 1
    assert caught.value.permanent
    assert caught.value.reason == (
        f"http://127.0.0.1:{receiver.port}/…: the template fails on this message, line 1"
    )


def test_no_message_is_too_large_for_tojson() -> None:
    everything = "{{ {'a': summary, 'b': examples, 'c': changes, 'd': labels} | tojson }}"
    huge = an_alert(summary="<" * 50_000, examples=("<" * 10_000,) * 100, labels={"<" * 9_000: "<"})
    body = checked(everything, content_type="application/json").render([huge], "m")
    assert 0 < len(body) < LARGEST_RENDERED


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"content_type": "json"}, "media type"),
        ({"content_type": "text/plain\r\nx: y"}, "media type"),
        ({"authorization": "Bearer a\r\nx: y"}, "one line"),
        ({"authorization": ""}, "one line"),
        ({"timeout": -1}, "timeout must be positive"),
        ({"template": "{{ nothing_such }}"}, "template, line 1: 'nothing_such' is undefined"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_wrong(wrong: dict[str, Any], said: str) -> None:
    options = {"url": "https://x.example/", "template": "a", "content_type": PLAIN, **wrong}
    with pytest.raises(ValueError, match=said):
        open_channel("custom", options, client=CLIENT)
