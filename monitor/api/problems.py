"""Every error of the API as ``application/problem+json`` (RFC 9457).

A browser that asked for a page gets one with the same words.

``Problem`` is the one exception that handlers raise. ``type`` is a URN a client can branch
on, ``detail`` says what and where, ``errors`` lists each wrong field with a JSON pointer
into the body or the name of the parameter. An unforeseen error answers 500 without details;
the log has its stack, without values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from monitor.store import teams
from monitor.store.database import retryable

MEDIA_TYPE: Final = "application/problem+json"
DISK_FULL: Final = "53100"
NO_SUCH_TABLE: Final = "42P01"
RETRY_SECONDS: Final = 5


_LEAST_ERROR: Final = 400


class Problem(HTTPException):
    """An answer other than the requested one.

    Parameters
    ----------
    status
        HTTP status.
    detail
        One sentence: what is wrong, which one, what to do. Never a secret.
    kind
        Slug of the URN in ``type``; derived from the status where none is given.
    errors
        One mapping per wrong field: ``detail`` and ``pointer`` or ``parameter``.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        errors: Sequence[Mapping[str, object]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code=status, detail=detail, headers=dict(headers or {}))
        self.kind = kind
        self.errors = tuple(errors)


ProblemPage = Callable[[Problem], Response]
"""Renders a problem for people."""


def problem_body(
    status: int,
    detail: str,
    *,
    instance: str,
    kind: str | None = None,
    errors: Sequence[Mapping[str, object]] = (),
) -> dict[str, object]:
    """Return the members of RFC 9457, and ``errors``."""
    title = _title(status)
    slug = kind or title.lower().replace(" ", "-").replace("'", "")
    return {
        "type": f"urn:driftline:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "errors": [dict(error) for error in errors],
    }


def answer(request: Request, problem: Problem) -> Response:
    """Answer with ``problem``: a page for a browser that asked for one, JSON for all others."""
    page: ProblemPage | None = getattr(request.app.state, "problem_page", None)
    if page is not None and _wants_page(request) and problem.status_code >= _LEAST_ERROR:
        return page(problem)
    return problem_response(problem, instance=request.url.path)


def _wants_page(request: Request) -> bool:
    is_api = request.url.path.startswith("/v1/")
    return not is_api and "text/html" in request.headers.get("accept", "")


def problem_response(problem: Problem, *, instance: str) -> Response:
    """Answer with ``problem``, its headers included."""
    body = problem_body(
        problem.status_code,
        str(problem.detail),
        instance=instance,
        kind=problem.kind,
        errors=problem.errors,
    )
    return JSONResponse(
        body, status_code=problem.status_code, headers=problem.headers, media_type=MEDIA_TYPE
    )


def internal_error() -> Problem:
    """Return the problem that a caller sees after an unforeseen error."""
    return Problem(
        500,
        "The request failed inside Driftline; the log has it under this X-Request-Id.",
        kind="internal",
    )


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` as a problem."""
    app.add_exception_handler(StarletteHTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    for kind in (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error):
        app.add_exception_handler(kind, _on_database)


async def _on_http(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return answer(request, error)
    if not isinstance(error, StarletteHTTPException):
        raise error
    return answer(
        request, Problem(error.status_code, _sentence(request, error), headers=error.headers)
    )


def _sentence(request: Request, error: StarletteHTTPException) -> str:
    match error.status_code:
        case 404 if error.detail == _title(404):
            return f"No such path: {request.method} {request.url.path}; /docs lists them all."
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            return f"{request.url.path} does not answer {request.method}; it takes {allowed}."
        case _:
            return str(error.detail)


async def _on_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [_field(item) for item in error.errors()]
    first = errors[0]
    where = first.get("pointer") or first.get("parameter") or "the request"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    problem = Problem(
        422, f"{where}: {first['detail']}{more}", kind="invalid-request", errors=errors
    )
    return answer(request, problem)


def _field(item: Mapping[str, Any]) -> dict[str, object]:
    """Name a wrong field; its value is never repeated (it may be a secret)."""
    source, *path = item["loc"] or ("body",)
    detail = str(item["msg"]).removeprefix("Value error, ")
    if source == "body":
        if item["type"] == "json_invalid":
            return {"detail": f"not valid JSON: {item['ctx']['error']}", "pointer": "#"}
        pointer = "".join(f"/{_escape(str(part))}" for part in path)
        return {"detail": detail, "pointer": f"#{pointer}"}
    return {"detail": detail, "parameter": ".".join(str(part) for part in path)}


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


async def _on_database(request: Request, error: Exception) -> Response:
    return answer(request, database_problem(error))


def database_problem(error: Exception) -> Problem:
    """Distinguish a passing outage (503), a full disk (507), a team's limit and a fault of ours.

    Any other database error is raised again: it is a 500 like every unforeseen error.
    """
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, psycopg.Error) and cause.sqlstate == DISK_FULL:
        return Problem(507, "The database's disk is full; nothing was stored.", kind="disk-full")
    if isinstance(cause, psycopg.Error) and cause.sqlstate == NO_SUCH_TABLE and teams.bound():
        return Problem(403, "This is not for a key that is bound to adapters.", kind="not-yours")
    if isinstance(error, sa.exc.TimeoutError) or retryable(error):
        return Problem(
            503,
            "The database does not answer now; try again.",
            kind="database-unavailable",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
    raise error


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
