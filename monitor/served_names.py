"""The names under which engines serve a model, where they give it more than one."""

from __future__ import annotations

import re
from typing import Final

_QUALIFIED: Final = re.compile(r"\Apublishers/[^/]+/models/(?=.)")


def plain_name(model: str) -> str:
    """Return a name without what KServe, from 0.20, writes before the second one of each model.

    >>> plain_name("publishers/llm/models/support@v7"), plain_name("support@v7")
    ('support@v7', 'support@v7')
    """
    return _QUALIFIED.sub("", model)
