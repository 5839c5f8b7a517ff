"""Settings as a page shows them: all of them, and no secret."""

from datetime import timedelta

from alerts.matching import Matcher
from monitor.config.channels import ChannelEntry
from monitor.config.places import ServingSection
from monitor.config.sections import AdapterSection, AlertingSection, Config, HeartbeatSection
from monitor.config.showing import HIDDEN, shown

PASSED = "hunter2"
FULL = Config(
    source="config.toml",
    serving=ServingSection(engines=(f"http://ann:{PASSED}@engine:8000",), api_key=PASSED),
    channels=(
        ChannelEntry(
            name="desk",
            kind="webhook",
            matcher=Matcher(),
            options={"url": f"https://x/{PASSED}", "secret": PASSED},
        ),
    ),
    alerting=AlertingSection(
        heartbeat=HeartbeatSection(url=f"https://ping/{PASSED}", every=timedelta(minutes=5))
    ),
    adapters={"support": AdapterSection(owner="ann", labels={"token": PASSED})},
)


def test_no_secret_is_shown_wherever_it_stands() -> None:
    found = {one.name: one for one in shown(FULL)}
    assert PASSED not in repr(found)
    assert found["serving.engines"].value == "http://…@engine:8000"
    assert found["serving.api_key"].value == HIDDEN
    assert found["channels[0].options"].value == HIDDEN
    assert found["adapters.support.labels.token"].value == HIDDEN
    assert (found["channels[0].name"].value, found["channels[0].kind"].value) == ("desk", "webhook")


def test_what_differs_from_the_default_is_known() -> None:
    found = {one.name: one for one in shown(FULL)}
    assert (found["alerting.heartbeat.every"].value, found["alerting.heartbeat.every"].usual) == (
        "5m",
        False,
    )
    assert found["alerting.heartbeat.oldest"].usual
    assert found["adapters.support.owner"].value == "ann"
    assert all(one.usual for one in shown(Config()))
    assert [one.section for one in shown(Config())][:2] == ["service", "service"]
