"""What receivers document that they take, to read our bodies with.

PagerDuty: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and the
OpenAPI document of its Events API v2. Slack: https://docs.slack.dev/reference/block-kit/blocks
Opsgenie: its Alert API, https://docs.opsgenie.com/docs/alert-api, which Jira Service Management
takes as its integration events.
Teams: adaptive cards 1.4, https://adaptivecards.io/explorer/
Alertmanager: ``postableAlerts`` of its API v2 in OpenAPI, and what its API checks beyond it.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Url = Annotated[str, Meta(pattern=r"^https?://[^\s]+$")]


class PagerDutyLink(Struct, forbid_unknown_fields=True, kw_only=True):
    href: Url
    text: str = ""


class PagerDutyPayload(Struct, forbid_unknown_fields=True, kw_only=True):
    summary: Annotated[str, Meta(min_length=1, max_length=1024)]
    source: Annotated[str, Meta(min_length=1)]
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")] = ""
    component: str = ""
    group: str = ""
    class_: str = msgspec.field(name="class", default="")
    custom_details: dict[str, Any]


class PagerDutyEvent(Struct, forbid_unknown_fields=True, kw_only=True):
    routing_key: Annotated[str, Meta(min_length=32, max_length=32)]
    event_action: Literal["trigger", "acknowledge", "resolve"]
    dedup_key: Annotated[str, Meta(min_length=1, max_length=255)]
    payload: PagerDutyPayload | None = None
    links: list[PagerDutyLink] = []
    client: str = ""
    client_url: Url | None = None


def pagerduty_event(body: bytes) -> PagerDutyEvent:
    """Read one event; a trigger must have a payload."""
    event = msgspec.json.decode(body, type=PagerDutyEvent)
    assert event.event_action != "trigger" or event.payload is not None
    return event


class SlackPlain(Struct, forbid_unknown_fields=True, kw_only=True, tag="plain_text"):
    text: Annotated[str, Meta(min_length=1, max_length=3000)]
    emoji: bool = True


class SlackMarked(Struct, forbid_unknown_fields=True, kw_only=True, tag="mrkdwn"):
    text: Annotated[str, Meta(min_length=1, max_length=3000)]
    verbatim: bool = False


class SlackHeader(Struct, forbid_unknown_fields=True, kw_only=True, tag="header"):
    text: SlackPlain


class SlackSection(Struct, forbid_unknown_fields=True, kw_only=True, tag="section"):
    text: SlackMarked | None = None
    fields: Annotated[list[SlackMarked], Meta(min_length=1, max_length=10)] | None = None


class SlackContext(Struct, forbid_unknown_fields=True, kw_only=True, tag="context"):
    elements: Annotated[list[SlackMarked], Meta(min_length=1, max_length=10)]


class SlackMessage(Struct, forbid_unknown_fields=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=40_000)]
    blocks: Annotated[list[SlackHeader | SlackSection | SlackContext], Meta(max_length=50)]
    unfurl_links: bool = False
    unfurl_media: bool = False

    @property
    def texts(self) -> list[str]:
        """All that Slack parses."""
        found = [self.text]
        for block in self.blocks:
            match block:
                case SlackHeader(text=text):
                    found.append(text.text)
                case SlackSection(text=one, fields=many):
                    found += [marked.text for marked in [one, *(many or [])] if marked]
                case SlackContext(elements=many):
                    found += [marked.text for marked in many]
        return found


def slack_message(body: bytes) -> SlackMessage:
    """Read one message; lengths are those of JavaScript strings, in UTF-16 units."""
    message = msgspec.json.decode(body, type=SlackMessage)
    for block in message.blocks:
        if isinstance(block, SlackHeader):
            assert units(block.text.text) <= 150
        if isinstance(block, SlackSection):
            assert block.text is not None or block.fields is not None
            assert all(units(field.text) <= 2000 for field in block.fields or [])
    assert all(units(text) <= 3000 for text in message.texts)
    return message


class OpsgenieAlert(Struct, forbid_unknown_fields=True, kw_only=True):
    message: Annotated[str, Meta(min_length=1, max_length=130)]
    alias: Annotated[str, Meta(min_length=1, max_length=512)]
    description: Annotated[str, Meta(max_length=15_000)]
    entity: Annotated[str, Meta(max_length=512)]
    source: Annotated[str, Meta(max_length=100)]
    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    tags: Annotated[list[Annotated[str, Meta(max_length=50)]], Meta(max_length=20)]
    details: dict[str, str]


class OpsgenieFollowUp(Struct, forbid_unknown_fields=True, kw_only=True):
    source: Annotated[str, Meta(max_length=100)]
    note: Annotated[str, Meta(min_length=1, max_length=25_000)] | None = None


def opsgenie_alert(body: bytes) -> OpsgenieAlert:
    """Read one new alert; all details together have a limit, too."""
    alert = msgspec.json.decode(body, type=OpsgenieAlert)
    assert sum(len(one) for item in alert.details.items() for one in item) <= 8_000
    return alert


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class TeamsOpens(Struct, forbid_unknown_fields=True, kw_only=True, tag="Action.OpenUrl"):
    url: Url
    title: str = ""


class TeamsRun(Struct, forbid_unknown_fields=True, kw_only=True, tag="TextRun", rename="camel"):
    text: Annotated[str, Meta(min_length=1)]
    weight: Literal["Lighter", "Default", "Bolder"] = "Default"
    size: Literal["Small", "Default", "Medium", "Large", "ExtraLarge"] = "Default"
    is_subtle: bool = False
    select_action: TeamsOpens | None = None


class TeamsParagraph(Struct, forbid_unknown_fields=True, kw_only=True, tag="RichTextBlock"):
    inlines: Annotated[list[TeamsRun], Meta(min_length=1)]

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.inlines)


class TeamsCard(Struct, forbid_unknown_fields=True, kw_only=True, tag="AdaptiveCard"):
    schema: str = msgspec.field(name="$schema")
    version: Literal["1.4"]
    msteams: dict[str, str]
    body: Annotated[list[TeamsParagraph], Meta(min_length=2)]
    actions: Annotated[list[TeamsOpens], Meta(max_length=6)]


class TeamsAttachment(Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    content_type: Literal["application/vnd.microsoft.card.adaptive"]
    content: TeamsCard


class TeamsMessage(Struct, forbid_unknown_fields=True, kw_only=True, tag="message"):
    summary: str
    attachments: Annotated[list[TeamsAttachment], Meta(min_length=1, max_length=1)]


def teams_card(body: bytes) -> TeamsCard:
    """Read one message; a card may have 28 kB."""
    assert len(body) < 28_000
    return msgspec.json.decode(body, type=TeamsMessage).attachments[0].content


Label = Annotated[str, Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


class PostableAlert(Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    labels: dict[Label, str]
    annotations: dict[Label, str] = {}
    starts_at: Annotated[datetime, Meta(tz=True)]
    ends_at: Annotated[datetime, Meta(tz=True)] | None = None
    generator: Url | None = msgspec.field(name="generatorURL", default=None)


def postable_alerts(body: bytes) -> list[PostableAlert]:
    """Read one request; none may end before it starts, none may be without a name."""
    alerts = msgspec.json.decode(body, type=list[PostableAlert])
    for alert in alerts:
        assert alert.labels["alertname"]
        assert alert.ends_at is None or alert.ends_at >= alert.starts_at
    return alerts
