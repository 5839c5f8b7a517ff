"""Two versions of an adapter beside each other."""

from collections.abc import Callable
from datetime import UTC, datetime

from monitor.store.registry import adapters, versions
from tests import worlds
from tests.serving import Serving
from tests.web.conftest import Looker


def test_two_versions_stand_beside_each_other_and_what_differs_is_marked(
    service: Serving, look: Callable[..., Looker]
) -> None:
    with service.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.1)
        support = adapters.fetch(tx, "support")
        assert support is not None
        trained = {"data": "<i>march</i>"}
        versions.put(tx, adapter=support, name="v8", model="support@v8", metadata=trained)
    looker = look()
    looker.log_in()
    looker.open("/adapters/support")
    looker.click("text=Compare two versions in full")
    assert looker.page.inner_text("#compared-title") == "v7 beside v8"
    rows = looker.page.locator(".compared tr.moved")
    told = {row.split("\t")[0].strip(): row for row in rows.all_inner_texts()}
    assert "<i>march</i>" in told["data"]
    assert "critical" in told["Verdict"]
    assert "support@v8" in told["Model"]
    assert "Base model" not in told
    looker.page.select_option("[name=right]", "v6")
    looker.click("text=Compare")
    assert looker.page.inner_text("#compared-title") == "v7 beside v6"
    looker.open("/adapters/support/versions?left=v6&right=nobody")
    assert looker.page.inner_text("#compared-title") == "v6 beside v8"
    looker.open("/adapters/not-yet-served/versions")
    assert "There is no adapter not-yet-served" in looker.page.inner_text("main")
    assert [line for line in looker.complaints if "404" not in line] == []
