"""Forms of the pages: their fields, and the reasons to refuse one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request

from monitor.domain import Scope
from monitor.store.people import keys
from monitor.store.people.keys import Key

LARGEST_FORM: Final = 8192
LONGEST_REASON: Final = 500
MOST_FIELDS: Final = 16


def may_not(request: Request, key: Key, *, scope: Scope = Scope.OPERATE) -> str | None:
    """Return why the sender of a form may not do what needs a scope; None: it may."""
    if is_from_elsewhere(request):
        return "This form was sent by another site."
    if not keys.permits(key, scope):
        return f"Log in with a key that may {scope}."
    return None


def is_from_elsewhere(request: Request) -> bool:
    """Whether a page of another site sent this form, a neighbouring subdomain's included.

    The cookie is SameSite=Lax already. Browsers name the origin of a form in
    ``Sec-Fetch-Site``, older ones in ``Origin``; a client that sends neither is no browser.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and origin not in _own_origins(request)


def _own_origins(request: Request) -> set[str]:
    """Return the origins of this service: the configured address, and the one requested."""
    configured: str = request.app.state.parts.pages.base_url or ""
    asked = request.headers.get("host", "")
    place = urlsplit(configured)
    public = {f"{place.scheme}://{place.netloc}"} if configured else set()
    return public | {f"http://{asked}", f"https://{asked}"}


def no_reason(fields: Mapping[str, str]) -> str | None:
    """Say what is wrong with the reason that a form gives."""
    reason = fields.get("reason", "")
    if not reason or len(reason) > LONGEST_REASON or "\x00" in reason:
        return f"Say why, in at most {LONGEST_REASON} characters."
    return None


async def read_form(request: Request) -> dict[str, str]:
    """Read the fields of a small form; no multipart parser is needed for it."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, f"The form takes at most {LARGEST_FORM} bytes.")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise HTTPException(400, f"The form has at most {MOST_FIELDS} fields.") from error
    if any("\x00" in value for values in fields.values() for value in values):
        raise HTTPException(400, "A field has a NUL character, which cannot be stored.")
    return {name: values[0].strip() for name, values in fields.items()}


Fields = Annotated[Mapping[str, str], Depends(read_form)]
"""The fields of the form that a handler is sent."""
