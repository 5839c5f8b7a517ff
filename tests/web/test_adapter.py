"""The page of an adapter: what people must know first, why to believe it last."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.domain import ChangeKind
from monitor.store.people import changes
from monitor.store.registry import versions
from tests import newcomers, worlds
from tests.serving import Serving

SECTIONS = ("health", "signals", "histogram", "new", "versions", "route", "reference",
            "coverage", "incidents", "transitions", "scores", "plan", "selftest")  # fmt: skip
PROMPT = "Where is my <b>gift card</b>?"
OUTSIDE = """() => {
    const page = document.querySelector("main").cloneNode(true);
    page.querySelector("#believe").remove();
    return page.textContent;
}"""


@pytest.fixture
def drifting(service: Serving) -> Serving:
    """A fleet in which ``support@v7`` is paged about, and its traffic has been moved to v6."""
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=1.2)
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        newcomers.arrive(tx, version, now=now, text=PROMPT)
        newcomers.measure(tx, version, now=now, shift=0.3)
        changes.add(
            tx,
            changes.Declaration(
                kind=ChangeKind.ENGINE,
                title="vLLM 0.33",
                adapters=None,
                begun_at=now - timedelta(hours=4),
                ended_at=now - timedelta(hours=3.5),
                author="deploys",
            ),
        )
    return service
