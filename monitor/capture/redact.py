"""Mask personal data and secrets in a text before it is stored.

This is a net with known holes, not a guarantee: storing text is off by default. Every pattern is
linear in the text: no nested or overlapping repetition.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

_EMAIL: Final = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]{1,40}(?=-----)")
_PEM_END: Final = re.compile(r"-----END [A-Z ]{1,40}-----")
_PEM_BODY: Final = 10_000
"""The longest that is taken for a key, in characters."""
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]{0,1000}")
_PREFIXED: Final = re.compile(
    r"\b(?:sk|pk|rk|dl|ghp|gho|ghs|github_pat|glpat|xox[abprs]|hf|whsec|npm|pypi)[-_][\w-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{35}"
)
_ASSIGNED: Final = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token|api[_-]?key|authorization|bearer)"
    r"(\s{0,3}(?:is|[:=])\s{0,3}|\s)(?:bearer\s)?[\"']?([^\s\"']{6,})"
)
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_DIGITS: Final = re.compile(r"(?<![\w.])\+?\(?\d(?:[ ().\-/]{0,2}\d){6,18}(?![\w])")
_IPV4: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\d)")
_IPV6: Final = re.compile(r"(?<![\w:])[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w:])")

_CARD_DIGITS: Final = range(13, 20)
_IBAN_LENGTHS: Final = range(15, 35)
_DATE: Final = re.compile(r"(?:19|20)\d\d[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:19|20)\d\d")


def redact(text: str) -> str:
    """Replace e-mail addresses, phone, card and IBAN numbers, IP addresses and secrets.

    >>> redact("I am ann@example.org, card 4111 1111 1111 1111")
    'I am [email], card [card]'
    """
    text = _without_pem(text)
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def _without_pem(text: str) -> str:
    """Mask from each head to the next tail, or to the end of the text, if that is near enough.

    One pattern for it all would look for a tail behind each head anew.
    """
    kept: list[str] = []
    masked = 0
    tail = _PEM_END.search(text)
    for head in _PEM.finditer(text):
        body = head.end() + len("-----")
        if head.start() < masked:
            continue
        if tail is not None and tail.start() < body:
            tail = _PEM_END.search(text, body)
        begins, ends = (len(text), len(text)) if tail is None else tail.span()
        if begins - body > _PEM_BODY:
            continue
        kept += text[masked : head.start()], "[secret]"
        masked = ends
    return "".join((*kept, text[masked:]))


def _assigned(match: re.Match[str]) -> str:
    word, between, value = match.groups()
    if between.isspace() and not any(map(str.isdigit, value)):
        return match[0]  # "token limit": prose, not an assignment
    return f"{word}{between}[secret]"


def _iban(match: re.Match[str]) -> str:
    compact = match[0].replace(" ", "")
    if len(compact) not in _IBAN_LENGTHS:
        return match[0]
    turned = "".join(str(int(c, 36)) for c in compact[4:] + compact[:4])
    return "[iban]" if int(turned) % 97 == 1 else match[0]


def _number(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    if len(digits) in _CARD_DIGITS and _luhn(digits):
        return "[card]"
    if _DATE.fullmatch(match[0]):
        return match[0]
    return "[phone]"


def _luhn(digits: str) -> bool:
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0  # noqa: PLR2004 (cast out nines)


def _address(match: re.Match[str]) -> str:
    if not any(map(str.isdigit, match[0])):
        return match[0]  # "a::b" is a valid address, and code
    try:
        ipaddress.ip_address(match[0])
    except ValueError:
        return match[0]
    return "[ip]"


_MASKS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    # the most specific first: a mask contains nothing that a later pattern would match
    (_JWT, "[secret]"),
    (_PREFIXED, "[secret]"),
    (_ASSIGNED, _assigned),
    (_EMAIL, "[email]"),
    (_IBAN, _iban),
    (_IPV4, _address),
    (_IPV6, _address),
    (_DIGITS, _number),
)
