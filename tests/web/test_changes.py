"""Declared changes on an adapter's page, in a real browser."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.domain import ChangeKind
from monitor.store.people import changes
from monitor.store.people.changes import Declaration
from tests import worlds
from tests.serving import Serving
from tests.web.conftest import Looker
from tests.web.test_hostile_text import PAYLOADS

DRAWN = """() => {
    const chart = [...document.querySelectorAll("svg.signals:not(.spark)")]
        .find((one) => one.checkVisibility());
    const words = [...chart.querySelectorAll("text")];
    return {
        lines: chart.querySelectorAll(".mark.declared").length,
        bands: chart.querySelectorAll(".lasting").length,
        labels: words.map((one) => one.textContent),
        edges: words.map((one) => one.getBoundingClientRect()).map((box) => [box.left, box.right]),
        width: innerWidth,
    };
}"""

# WCAG 2.2: relative luminance of sRGB, and the contrast of two colours.
CONTRAST = """() => {
    const channel = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const luminance = (name) => {
        const style = getComputedStyle(document.documentElement);
        const hex = style.getPropertyValue(name).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
        const [r, g, b] = [1, 3, 5].map((i) => channel(parseInt(hex.slice(i, i + 2), 16) / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [light, dark] = [luminance("--declared"), luminance("--card")].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
}"""


@pytest.fixture
def declare(service: Serving) -> Callable[..., None]:
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=1.2)

    def put(title: str, *, begun: float, lasted: float | None = 0.0, **fields: Any) -> None:
        """Declare a change that began ``begun`` hours ago; ``lasted`` None: it is under way."""
        begun_at = now - timedelta(hours=begun)
        known: dict[str, Any] = {"kind": ChangeKind.ENGINE, "adapters": None, "author": "deploys"}
        with service.database.begin() as tx:
            changes.add(
                tx,
                Declaration(
                    title=title,
                    begun_at=begun_at,
                    ended_at=None if lasted is None else begun_at + timedelta(hours=lasted),
                    **(known | fields),
                ),
            )

    return put


def drawn(looker: Looker, age: str = "24h") -> Any:
    looker.open(f"/adapters/support?from={age}")
    return looker.page.evaluate(DRAWN)


def test_changes_stand_on_the_time_axis_and_beside_the_verdicts(
    look: Callable[..., Looker], declare: Callable[..., None]
) -> None:
    declare("vLLM 0.33", begun=20.0, lasted=0.5)
    declare("shorter greeting", begun=6.0, kind=ChangeKind.PROMPT, adapters=("support",))
    declare("since the day before", begun=30.0, lasted=9.0)
    declare("not of this adapter", begun=5.0, adapters=("travel-assistant",))
    looker = look()
    looker.log_in()
    found = drawn(looker)
    assert found["lines"] == 3
    assert found["bands"] == 2  # one took no time
    assert {"engine: vLLM 0.33", "prompt: shorter greeting"} <= set(found["labels"])
    assert "engine: since the day bef…" in found["labels"]
    assert all(left >= 0 and right <= found["width"] for left, right in found["edges"])
    listed = looker.page.inner_text("#declared")
    assert "engine · vLLM 0.33 the fleet, by deploys" in listed
    assert "prompt · shorter greeting support, by deploys" in listed
    assert "not of this adapter" not in listed
    assert looker.complaints == []


def test_an_engine_change_under_way_is_said_at_the_top(
    look: Callable[..., Looker], declare: Callable[..., None]
) -> None:
    declare("vLLM 0.34", begun=0.2, lasted=None)
    looker = look()
    looker.log_in()
    found = drawn(looker, "1h")
    notice = looker.page.inner_text("[data-live=notices]")
    assert "A change of engine is under way since" in notice
    assert "vLLM 0.34 (deploys)" in notice
    assert found["bands"] == 1  # up to now
    assert ", under way" in looker.page.inner_text("#declared")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_their_colour_is_read_in_light_and_dark(
    look: Callable[..., Looker], declare: Callable[..., None], scheme: str
) -> None:
    declare("vLLM 0.33", begun=2.0)
    looker = look(scheme=scheme)
    looker.log_in()
    assert drawn(looker)["lines"] == 1
    # 4.5 is what WCAG 2.2 (1.4.3, level AA) asks of text of this size
    assert looker.page.evaluate(CONTRAST) >= 4.5
    assert "declared change" in looker.page.inner_text(".legend")


def test_titles_stay_text_in_the_chart_too(
    look: Callable[..., Looker], declare: Callable[..., None]
) -> None:
    shown = [payload for payload in PAYLOADS[::5] if payload.isprintable()]
    for place, payload in enumerate(shown):
        declare(payload[:200], begun=place % 23 + 0.5, lasted=0.1)
    declare("<b>&lt;bold</b> & <a href", begun=12.0, kind=ChangeKind.OTHER)
    looker = look()
    looker.log_in()
    found = drawn(looker)
    assert any(label.startswith(("engine: <", 'engine: "')) for label in found["labels"])
    assert looker.page.locator("#declared img, #declared script, svg image").count() == 0
    assert (looker.dialogs, looker.complaints, looker.foreign) == ([], [], [])
    assert looker.page.evaluate("window.pwned") is None


@pytest.mark.parametrize("width", [1280, 390])
def test_a_tag_in_a_title_is_written_out(
    look: Callable[..., Looker], declare: Callable[..., None], width: int
) -> None:
    declare("<b>a</b> &lt; & <br>", begun=3.0, kind=ChangeKind.OTHER)
    looker = look(width=width)
    looker.log_in()
    found = drawn(looker)["labels"]
    assert "change: <b>a</b> &lt; & <…" in found, " | ".join(found)
