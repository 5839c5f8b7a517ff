"""The interface for asking a model, through serving or on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from detectors.parity import TopLogprobs
from monitor.probes.corpus import Corpus
from monitor.probes.perplexity import PerplexityRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model to ask: its served name, and its folder if known.

    ``folder`` is None for a base model, or if the adapter's files are not readable here.
    """

    model: str
    folder: Path | None = None


LOCAL: Final = ("/", "file:")
"""Beginnings of the addresses of folders."""


def local_folder(uri: str) -> Path | None:
    """Return the local folder that a path or a ``file:`` address names.

    >>> local_folder("file:///models/support%20v7"), local_folder("s3://bucket/support-v7")
    (PosixPath('/models/support v7'), None)
    """
    if uri.startswith("/"):
        return Path(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    local = parts.scheme == "file" and parts.netloc in {"", "localhost"}
    return Path(path) if local and path.startswith("/") and "\0" not in path else None


class Made(Protocol):
    """The origin of a run; see :class:`monitor.probes.perplexity.PerplexityRun`."""

    @property
    def engine(self) -> str | None: ...
    @property
    def dtype(self) -> str | None: ...
    @property
    def source(self) -> str | None: ...
    @property
    def weights(self) -> str | None: ...


class ModelProbe(Protocol):
    """Asks models. Every method may raise :class:`monitor.probes.errors.ProbeError`."""

    def corpora(self, adapter: str) -> tuple[Corpus, ...]:
        """Return an adapter's fixed texts: the general ones, and its domain's if configured."""
        ...

    def score(self, target: Target, corpus: Corpus) -> PerplexityRun:
        """Run once over a corpus."""
        ...

    def read(self, target: Target, texts: Sequence[str]) -> TopLogprobs:
        """Return the model's expectations at every token of some texts."""
        ...

    def base_of(self, target: Target) -> Target | None:
        """Return an adapter's base model, if it can be asked."""
        ...

    def siblings_of(self, target: Target) -> tuple[Target, ...]:
        """Return other adapters on the same base."""
        ...

    def would_repeat(self, target: Target, run: Made) -> bool:
        """True if a run now would repeat ``run``: same weights, dtype, engine and way of asking.

        False if unknown.
        """
        ...
