"""Embed waiting texts, for the loop and for an evaluation that needs its window's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from monitor.capture.subjects import load_key
from monitor.capture.terms import TermHashes
from monitor.config.sections import Config
from monitor.domain import AdapterId
from monitor.probes.embedding import Embedder
from monitor.probes.errors import ProbeError
from monitor.reference.index import Indexes
from monitor.reference.live import TextFate, drain_embeddings
from monitor.store import clock
from monitor.store.database import Database
from monitor.store.records import pending

_LOG: Final = structlog.get_logger(__name__)

AHEAD: Final = timedelta(minutes=10)
"""Records may be stamped this far ahead; their texts are still embedded."""
MOST_BATCHES: Final = 20
"""An evaluation waits for so many batches of an adapter's texts at most."""


@dataclass(kw_only=True, eq=False)
class WaitingTexts:
    """The texts that wait for the encoder. Safe to use from several threads.

    One thread embeds at a time, so that an evaluation waits for the texts that the loop has in
    hand, for instance while the encoder starts. They would be missing from its window.
    """

    database: Database
    embedder: Embedder
    indexes: Indexes
    keeping: TextFate
    _in_hand: threading.Lock = field(init=False, default_factory=threading.Lock)
    _trouble: str | None = field(init=False, default=None)

    def turn(self) -> bool:
        """Embed the waiting texts; a missing model is logged once, not at every turn."""
        try:
            embedded = self._batch(None, self._now() + AHEAD)
        except ProbeError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _LOG.warning("texts_wait", reason=self._trouble)
            return False
        if embedded:
            self._trouble = None
        return embedded > 0

    def next_due(self) -> timedelta | None:
        """Return the time until a text can be embedded; None while none waits."""
        before = self._now() + AHEAD
        return self.database.run(lambda tx: pending.next_due(tx, before=before))

    def embed_before(self, times: Sequence[tuple[AdapterId, datetime]]) -> None:
        """Embed adapters' texts of records before a time, in at most 20 batches of each.

        What cannot be embedded now waits on.
        """
        waiting = self.database.run(lambda tx: pending.before(tx, times))
        for adapter_id, until in times:
            try:
                for _ in range(MOST_BATCHES if adapter_id in waiting else 0):
                    if self._batch(adapter_id, until) == 0:
                        break
            except (ProbeError, LookupError, OSError) as error:
                # a broken index or a dead probe must not stop the detectors that need neither
                _LOG.warning("embedding_unavailable", adapter_id=adapter_id, error=str(error))

    def _batch(self, adapter_id: AdapterId | None, until: datetime) -> int:
        """Embed one batch of records before ``until``; return the number of texts taken.

        Raises
        ------
        ProbeError
            The encoder is down; the texts keep waiting.
        """
        with self._in_hand:
            return drain_embeddings(
                self.database,
                self.embedder,
                indexes=self.indexes,
                adapter_id=adapter_id,
                until=until,
                keeping=self.keeping,
                now=self._now,
            )

    def _now(self) -> datetime:
        return self.database.run(clock.now)


def text_fate(config: Config) -> TextFate:
    """Return what is kept of a text: nothing, its terms, or all of it redacted."""
    capture = config.capture
    keeping = TextFate(store_text=capture.store_text, answers=config.embeds_answers)
    if not capture.terms:
        return keeping
    key = load_key(config.service.data_dir / "subject.key")
    return replace(keeping, terms=TermHashes(key=key))
