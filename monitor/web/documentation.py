"""The API's description as a page lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One query, path or header parameter."""

    name: str
    place: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    summary: str
    parameters: Sequence[Parameter]
    body: str
    open: bool


def groups(schema: Mapping[str, Any]) -> dict[str, list[Endpoint]]:
    """Sort the endpoints of an OpenAPI document by their first tag."""
    found: dict[str, list[Endpoint]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            found.setdefault(tag, []).append(_endpoint(method, path, operation))
    return found


def _endpoint(method: str, path: str, operation: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        method=method.upper(),
        path=path,
        summary=operation.get("description", operation.get("summary", "")),
        parameters=[_parameter(item) for item in operation.get("parameters", ())],
        body=", ".join(operation.get("requestBody", {}).get("content", {})),
        open=operation.get("security") == [],
    )


def _parameter(item: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=item["name"],
        place=item["in"],
        required=item.get("required", False),
        description=item.get("description", ""),
    )
