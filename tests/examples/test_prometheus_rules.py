"""The rules and dashboards over our metrics: of metrics that there are, and true to promtool."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.grafana.dashboards import dashboards, expressions, written
from tests.tools import needs

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "examples" / "prometheus"
RULES = PROMETHEUS / "driftline.rules.yml"
RULE_TESTS = PROMETHEUS / "driftline.rules.test.yml"
GRAFANA = ROOT / "examples" / "grafana"
PROMTOOL = shutil.which("promtool")
needs_promtool = needs(PROMTOOL, "`make prometheus` installs promtool")
GIVEN = {"$adapter": "support", "$version": "v1|v2", "$__rate_interval": "2m"}
"""What Grafana puts in place of its variables."""


def test_every_rule_is_complete_and_of_metrics_that_are_exported() -> None:
    documented = _documented("metrics.md") | _documented("gateway.md")
    for rule in _rules():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert set(re.findall(r"driftline_\w+", rule["expr"])) <= documented, rule["alert"]
    names = {rule["alert"] for rule in _rules()}
    assert {"DriftlineDown", "DriftlineEvaluationDead", "DriftlineOutboxStuck"} <= names


def test_every_rule_is_tried_where_it_fires_and_where_it_does_not() -> None:
    tried: dict[str, set[bool]] = {rule["alert"]: set() for rule in _rules()}
    for case in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for look in case["alert_rule_test"]:
            tried[look["alertname"]].add(bool(look["exp_alerts"]))
    assert {name for name, ways in tried.items() if ways != {True, False}} == set()


@needs_promtool
def test_every_rule_fires_when_it_should() -> None:
    ran = _promtool("test", "rules", RULE_TESTS.name, folder=PROMETHEUS)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_dashboard_is_as_its_code_writes_it(name: str) -> None:
    kept = (GRAFANA / f"{name}.json").read_text(encoding="utf-8")
    assert kept == written(dashboards()[name]), "python -m examples.grafana writes it anew"


def test_the_dashboards_show_every_metric_and_no_other() -> None:
    documented = _documented("metrics.md") | _documented("gateway.md")
    shown = set(re.findall(r"driftline_\w+", " ".join(_queries())))
    assert {re.sub("_bucket$", "", name) for name in shown} == documented


def test_dashboards_ask_by_labels_that_their_metrics_have() -> None:
    labels = _labels("metrics.md") | _labels("gateway.md")
    for query in _queries():
        for name, matched in re.findall(r"(driftline_\w+)\{([^}]*)\}", query):
            asked = set(re.findall(r"(\w+)=", matched))
            assert asked <= labels[name.removesuffix("_bucket")], query


@needs_promtool
def test_every_query_of_a_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"asked:{number}", "expr": _filled(query)}
        for number, query in enumerate(_queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    ran = _promtool("check", "rules", str(path), folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(rules)} rules found" in ran.stdout


def _promtool(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run(
        [PROMTOOL, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _queries() -> list[str]:
    kept = [json.loads((GRAFANA / f"{name}.json").read_text()) for name in dashboards()]
    return [query for one in kept for query in expressions(one)]


def _filled(query: str) -> str:
    for variable, value in GIVEN.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return query


def _documented(page: str) -> set[str]:
    return set(_labels(page))


def _labels(page: str) -> dict[str, set[str]]:
    """Read a page's table: the labels of each metric."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(driftline_\w+)` \| [^|]* \| ([^|]*) \|", text, re.MULTILINE)
    assert rows
    return {name: set(re.findall(r"\w+", labels)) for name, labels in rows}
