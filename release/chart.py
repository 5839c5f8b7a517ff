"""Render the chart with Helm's own engine, and check each object against Kubernetes' schemas.

It runs in the environment that has the engine, ``.venv-deploy``. ``--plain`` writes the manifests
of ``deploy/kubernetes``. Without it, value sets come from stdin as JSON, ``{"name": {…}}``, and
what came of each goes to stdout: ``objects``, ``invalid`` and ``notes``, or ``error``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import helm_python
import kubernetes_validate
import yaml

CHART: Final = Path(__file__).parents[1] / "deploy" / "helm" / "driftline"
KUBERNETES: Final = "1.33.0"
WITHOUT_SCHEMA: Final = "monitoring.coreos.com/"
"""The Prometheus Operator's kinds are none of Kubernetes' own."""
PLAIN: Final = {
    "database": {"secret": "driftline-database", "ownerUrlKey": "owner-url"},
    "keys": {"secret": "driftline-keys"},
}
HEAD: Final = (
    "# Made of the chart beside it by `make manifests`; docs/install.md says what it needs.\n"
)


def main() -> None:
    """Render every value set, or the plain manifests."""
    chart = helm_python.Chart.load(str(CHART))
    if "--plain" in sys.argv:
        files = _rendered(chart, PLAIN, namespace="driftline")
        del files["NOTES.txt"]
        text = "".join(f"---\n{_stripped(one)}\n" for one in files.values())
        sys.stdout.write(HEAD + text.replace("managed-by: Helm", "managed-by: kubectl"))
        return
    wanted: dict[str, dict[str, Any]] = json.load(sys.stdin)
    json.dump({name: _outcome(chart, values) for name, values in wanted.items()}, sys.stdout)


def _rendered(chart: Any, values: dict[str, Any], *, namespace: str) -> dict[str, str]:
    chart.validate_schema(values)
    files: dict[str, str] = chart.render(values, name="driftline", namespace=namespace)
    named = {path.rpartition("/")[2]: text for path, text in sorted(files.items())}
    return {name: text for name, text in named.items() if _stripped(text)}


def _outcome(chart: Any, values: dict[str, Any]) -> dict[str, Any]:
    try:
        files = _rendered(chart, values, namespace="ml")
    except helm_python.HelmError as error:
        return {"error": str(error)}
    notes = files.pop("NOTES.txt")
    objects = [one for text in files.values() for one in yaml.safe_load_all(text) if one]
    faults = [fault for one in objects if (fault := _fault(one))]
    return {"objects": objects, "invalid": faults, "notes": notes}


def _stripped(text: str) -> str:
    """A template's text without what stands between it and its neighbours."""
    return text.strip().removeprefix("---").strip()


def _fault(one: dict[str, Any]) -> str | None:
    if one["apiVersion"].startswith(WITHOUT_SCHEMA):
        return None
    try:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{one['kind']} {one['metadata']['name']}: {error}"
    return None


if __name__ == "__main__":
    main()
