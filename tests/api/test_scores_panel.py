"""The panel of docs/metrics.md asks for what the API has."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from monitor.domain import Scope
from tests import worlds
from tests.docs.pages import section
from tests.serving import Serving

KINDS: Final[Mapping[str, Callable[[Any], object]]] = {
    "timestamp": datetime.fromisoformat,
    "string": str,
    "number": float,
}
"""By the type of a column, what reads its values."""


def _by_path(item: Any, path: str) -> Any:
    """Select as the backend of Grafana's Infinity does."""
    for part in path.split("."):
        item = item[int(part)] if isinstance(item, list) else item[part]
    return item


def test_every_column_of_the_panel_is_in_the_answer_to_its_request(service: Serving) -> None:
    [block] = re.findall(r"```json\n(.*?)```", section("metrics.md", "Single scores"), re.DOTALL)
    [target] = json.loads(block)["targets"]
    now = datetime.now(UTC)
    times = {
        "${__from:date:iso}": _iso(now - timedelta(hours=3)),
        "${__to:date:iso}": _iso(now),
    }
    asked = {one["key"]: one["value"] for one in target["url_options"]["params"]}
    params = {key: times.get(value, value) for key, value in asked.items()}
    assert set(times.values()) <= set(params.values())
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.2)
    with service.client(Scope.READ) as client:
        answer = client.get(target["url"], params=params)
    assert answer.status_code == 200, answer.text
    items = answer.json()[target["root_selector"]]
    assert len(items) > 20
    for column in target["columns"]:
        values = [_by_path(item, column["selector"]) for item in items]
        read = [KINDS[column["type"]](one) for one in values if one is not None]
        assert read != [], column


def _iso(at: datetime) -> str:
    """Write a time as Grafana does."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
