"""What a service says of itself in ``/openapi.json``, made into requests that nobody expects."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.serving import Serving

FITTING = {
    "adapter": "support",
    "version": "v1",
    "delivery": "00000000-0000-0000-0000-000000000000",
    "channel": "on-call",
}
"""Names in paths; all others are numbers."""

HALF = "\ud800"
HOSTILE: tuple[Any, ...] = (
    HALF,
    "nul\x00",
    "",
    "a" * 70_000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-01-01T00:00:00",
    "javascript:alert(1)",
    "../../etc/passwd",
    "'; DROP TABLE keys; --",
    2**63,
    -(2**63) - 1,
    10**400,
    1e308,
    float("nan"),
    float("-inf"),
    True,
    None,
    [],
    {},
    [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]],
    {HALF: HALF},
    [HALF],
)
BYTES = (
    b"",
    b"{",
    b"\xff\xfe{\x00}\x00",
    b"\xed\xa0\x80",
    b"[" * 50_000,
    b'{"a":' * 50_000,
)
"""Bodies that are no JSON, or none that anybody can read."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; ``about`` says what is hostile in it."""

    method: str
    path: str
    about: str
    query: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path, with what it takes."""

    method: str
    template: str
    parameters: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None
    components: Mapping[str, Any]
    needs_key: bool

    @property
    def path(self) -> str:
        return self.with_parameters({})

    @property
    def body(self) -> Any:
        return None if self.schema is None else sample(self.schema, self.components)

    def with_parameters(self, given: Mapping[str, str]) -> str:
        def filled(found: re.Match[str]) -> str:
            return given.get(found[1], FITTING.get(found[1], "1"))

        return re.sub(r"{(\w+)}", filled, self.template)


def operations(service: Serving) -> list[Operation]:
    with service.client() as client:
        told = client.get("/openapi.json").json()
    return [
        Operation(
            method=method.upper(),
            template=template,
            parameters=tuple(operation.get("parameters", ())),
            schema=_schema(operation),
            components=told["components"]["schemas"],
            needs_key=operation.get("security") != [],
        )
        for template, methods in told["paths"].items()
        for method, operation in methods.items()
    ]


def hostile_requests(operation: Operation) -> Iterator[Request]:
    """Each parameter and each field of the body in turn is something else than it should be."""
    yield from _in_parameters(operation)
    if operation.schema is not None:
        yield from _in_bodies(operation)


def sample(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """Something that a schema accepts, or nearly: every property is there."""
    if "$ref" in schema:
        return sample(components[schema["$ref"].rsplit("/", 1)[1]], components)
    if several := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return sample(several[0], components)
    if schema.get("enum") or schema.get("default") is not None:
        return schema["enum"][0] if "enum" in schema else schema["default"]
    return _of_type(schema, components)


def _of_type(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    fields = schema.get("properties", {})
    moment = schema.get("format") == "date-time"
    return {
        "object": {name: sample(inner, components) for name, inner in fields.items()},
        "array": [sample(schema["items"], components)] if "items" in schema else [],
        "string": "2026-03-04T05:06:07Z" if moment else "x" * max(1, schema.get("minLength", 1)),
        "integer": max(1, schema.get("minimum", 1)),
        "number": max(1, schema.get("minimum", 1)),
        "boolean": False,
    }.get(schema.get("type", ""), "x")


def _schema(operation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    found: Mapping[str, Any] | None = content.get("application/json", {}).get("schema")
    return found


def _in_parameters(operation: Operation) -> Iterator[Request]:
    for parameter in operation.parameters:
        name, place = parameter["name"], parameter["in"]
        for value in HOSTILE:
            if isinstance(value, list | dict) or (place == "header" and not f"{value}".isascii()):
                continue
            text = quote(str(value), safe="", errors="surrogatepass")
            made: dict[str, Any] = {"path": operation.path}
            if place == "path":
                made = {"path": operation.with_parameters({name: text[:3000]})}
            elif place == "query":
                made["query"] = f"{quote(name)}={text[:3000]}"
            else:
                made["headers"] = {name: str(value).replace("\0", "0")[:30_000]}
            yield Request(
                method=operation.method,
                about=f"{place} {name} = {str(value)[:40]!r}",
                body=_written(operation.body),
                **made,
            )


def _in_bodies(operation: Operation) -> Iterator[Request]:
    fitting = operation.body
    made = [
        (f"field {place} = {str(value)[:40]!r}", body) for place, value, body in _mixed(fitting)
    ]
    made += [("a whole body", value) for value in HOSTILE]
    if isinstance(fitting, dict):
        made += [
            ("an unknown field", {**fitting, HALF: 1}),
            ("and another", {**fitting, "q": HALF}),
        ]
    for about, body in made:
        yield Request(
            method=operation.method, path=operation.path, about=about, body=_written(body)
        )
    for raw in (
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"\xed\xa0\x80",
    ):
        yield Request(
            method=operation.method, path=operation.path, about=f"bytes {raw[:9]!r}", body=raw
        )


def _mixed(fitting: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(fitting, dict):
        for name, inner in fitting.items():
            for value in HOSTILE:
                yield name, value, {**fitting, name: value}
            for place, value, changed in _mixed(inner):
                yield f"{name}.{place}", value, {**fitting, name: changed}
    elif isinstance(fitting, list) and fitting:
        for place, value, changed in _mixed(fitting[0]):
            yield f"0.{place}", value, [changed]


def _written(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()
