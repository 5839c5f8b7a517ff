"""Routes as objects of a cluster: which patch makes one so, and what one says. Pure.

Two kinds of object name served models with weights, so that two versions of an adapter can
share traffic on the same engines: ``InferenceModelRewrite`` (Gateway API Inference
Extension, llm-d) and ``AIGatewayRoute`` (Envoy AI Gateway). Plain ``HTTPRoute`` weights split
Services, not names in a body.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

ANNOTATION: Final = "driftline/route"
"""Where an object keeps the document it was last made of: JSON, as Driftline sends it."""
FULL: Final = 10_000
"""Weights of a cluster are whole numbers; these are hundredths of a percent."""

Json = dict[str, Any]


def edition(route: Mapping[str, Any]) -> tuple[int, int]:
    """Tell older from newer: generations begin again where a database was put back."""
    return route.get("epoch", 0), route["generation"]


def effective(route: Mapping[str, Any], now: datetime) -> list[Json]:
    """Give the arms that have traffic now: after ``valid_until`` one has it all."""
    arms: list[Json] = [dict(arm) for arm in route["arms"]]
    until = route["valid_until"]
    if until is not None and now >= datetime.fromisoformat(until):
        kinds = {arm["arm"] for arm in arms}
        heir = route["on_expiry"] if route["on_expiry"] in kinds else "stable"
        arms = [arm | {"weight": float(arm["arm"] == heir)} for arm in arms]
    return [arm for arm in arms if arm["weight"] > 0]


def wanted(kind: str, rule: Mapping[str, Any], arms: Sequence[Json]) -> list[Json]:
    """Write the weighted targets of one rule; what else the rule's targets say stays.

    Raises
    ------
    ValueError
        No such kind, or a rule without a backend to send models to.
    """
    match kind:
        case "InferenceModelRewrite":
            return [{"modelRewrite": arm["model"], "weight": _whole(arm)} for arm in arms]
        case "AIGatewayRoute":
            backends = rule.get("backendRefs") or []
            if not backends:
                raise ValueError("the rule names no backend yet; give it the first one by hand")
            return [
                backends[0] | {"modelNameOverride": arm["model"], "weight": _whole(arm)}
                for arm in arms
            ]
        case _:
            raise ValueError(f"no kind {kind!r} is known")


def patch(
    kind: str, found: Json, route: Mapping[str, Any], *, rule: int, now: datetime
) -> list[Json]:
    """Give the JSON patch (RFC 6902) that makes the object say the route.

    Its first operation is a test of ``resourceVersion``: whoever changed the object since it
    was read wins, and nothing is lost. Empty where the object says the route already.
    """
    rules = found["spec"]["rules"]
    field = FIELDS[kind]
    targets = wanted(kind, rules[rule], effective(route, now))
    annotations = found["metadata"].get("annotations") or {}
    document = json.dumps(route, sort_keys=True)
    changes: list[Json] = []
    if rules[rule].get(field) != targets:
        changes.append({"op": "add", "path": f"/spec/rules/{rule}/{field}", "value": targets})
    if annotations.get(ANNOTATION) != document:
        changes.append(
            {
                "op": "add",
                "path": "/metadata/annotations",
                "value": annotations | {ANNOTATION: document},
            }
        )
    version = found["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    return [test, *changes] if changes else []


def kept_in(found: Json) -> Json | None:
    """Give the route that the object was last made of; None where none ever was written."""
    kept = (found["metadata"].get("annotations") or {}).get(ANNOTATION)
    route: Json | None = None if kept is None else json.loads(kept)
    return route


def document_of(kind: str, found: Json, *, rule: int, now: datetime) -> Json | None:
    """Say what the object really does, as a route; None where no route ever was written.

    Weights are the route's own only where the object's are what was made of them: a person's
    ``kubectl edit`` shows.
    """
    route = kept_in(found)
    if route is None:
        return None
    targets = found["spec"]["rules"][rule].get(FIELDS[kind]) or []
    if targets == wanted(kind, found["spec"]["rules"][rule], effective(route, now)):
        return route
    real = {_model(target): target["weight"] for target in targets}
    total = sum(real.values()) or 1
    arms = [arm | {"weight": real.get(arm["model"], 0) / total} for arm in route["arms"]]
    return route | {"arms": arms}


FIELDS: Final[Mapping[str, str]] = {
    "InferenceModelRewrite": "targets",
    "AIGatewayRoute": "backendRefs",
}


def _model(target: Mapping[str, Any]) -> str:
    return str(target.get("modelRewrite") or target.get("modelNameOverride") or "")


def _whole(arm: Mapping[str, Any]) -> int:
    return max(1, round(float(arm["weight"]) * FULL))
