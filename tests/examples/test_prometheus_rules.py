"""The rules that watch the watcher speak of metrics that there are."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "examples" / "prometheus" / "driftline.rules.yml"


def test_every_rule_is_complete_and_of_metrics_that_are_exported() -> None:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    documented = set(re.findall(r"^\| `(driftline_\w+)`", _metrics(), re.MULTILINE))
    assert documented
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert set(re.findall(r"driftline_\w+", rule["expr"])) <= documented, rule["alert"]
    names = {rule["alert"] for rule in group["rules"]}
    assert {"DriftlineDown", "DriftlineEvaluationDead", "DriftlineOutboxStuck"} <= names


def _metrics() -> str:
    return (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
