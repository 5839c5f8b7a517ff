"""Embed waiting live texts, and compare them with the reference in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import structlog
from sqlalchemy import Connection

from detectors.axes import coordinates, load_axes
from detectors.nearest import nearest
from detectors.output_similarity import place_answers
from monitor.capture.redact import redact
from monitor.capture.terms import TermHashes
from monitor.domain import AdapterId, Reference, ReferenceId, VersionId
from monitor.probes.embedding import Embedder
from monitor.probes.errors import ProbeError, ProbeFailed
from monitor.reference.baseline import ANSWER
from monitor.reference.index import Indexes
from monitor.store.database import Database
from monitor.store.records import capture_counts, pending, terms
from monitor.store.records.pending import Embedded, EmbeddedAnswer, Pending
from monitor.store.records.terms import Use
from monitor.store.references import references

_LOG = structlog.get_logger(__name__)

LEASE: Final = timedelta(minutes=5)
"""Longer than the probe's time limit for one batch."""
REFUSED: Final = "encoder_refused"
"""The outcome counted if a record's embedding has another encoder than the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFate:
    """How texts are kept after embedding: deleted, or redacted.

    ``terms`` hashes a text's terms first; None skips that. ``answers`` is true if answers are
    embedded as well.
    """

    store_text: bool = False
    redact: Callable[[str], str] = redact
    terms: TermHashes | None = None
    answers: bool = False


def drain_embeddings(
    database: Database,
    embed: Embedder,
    *,
    indexes: Indexes,
    adapter_id: AdapterId | None = None,
    until: datetime | None = None,
    limit: int = 512,
    keeping: TextFate | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Embed up to ``limit`` waiting texts, oldest first, and compare them with training.

    Texts of a version without a reference are embedded too, since the reference will be made of
    them. An embedding by another encoder than the reference's is kept without a similarity, counted
    as ``encoder_refused`` and logged.

    Parameters
    ----------
    adapter_id, until
        Only this adapter's texts; only records earlier than this.

    Returns
    -------
    int
        The number of texts taken; 0 if none waits.

    Raises
    ------
    ProbeError
        The probe is down. The texts keep waiting; those in progress count a failure, and the fifth
        failure drops a text.
    """
    rows = database.run(
        lambda tx: pending.claim(
            tx, adapter_id=adapter_id, limit=limit, until=now() + LEASE, before=until
        )
    )
    # a text that once killed the worker is tried alone, so that it takes no others with it
    suspects = [row for row in rows if row.failures]
    batches = [[row] for row in suspects] + [[row for row in rows if not row.failures]]
    waiting = [batch for batch in batches if batch]
    draining = _Draining(database, embed, indexes, keeping or TextFate(), now)
    while waiting:
        try:
            draining.settle(waiting[-1])
        except ProbeError as error:
            draining.give_back(waiting, error)
            raise
        waiting.pop()
    return len(rows)


@dataclass(slots=True, eq=False)
class _Draining:
    """The state of one drain."""

    database: Database
    embed: Embedder
    indexes: Indexes
    keeping: TextFate
    now: Callable[[], datetime]

    def settle(self, rows: Sequence[Pending]) -> None:
        """Embed a batch without an open transaction, then write it in one."""
        in_force = self._references(rows)
        embedded = self._placed(self._embedded(rows, in_force), in_force)
        compared = self._compared(embedded, in_force)
        refused = [
            row.pending
            for row in compared
            if row.reference_id is None
            and row.embedding
            and _has_index(in_force.get(row.pending.version_id))
        ]
        if refused:
            _LOG.error("embedding_refused", count=len(refused), reason=_why(compared, in_force))

        uses = self._uses(rows)
        hashes = {number: b"".join(use.terms) for number, use in uses.items()}
        now = self.now()

        def write(tx: Connection) -> None:
            pending.settle(
                tx,
                [replace(row, terms=hashes.get(row.pending.id)) for row in compared],
                store_text=self.keeping.store_text,
                redact=self.keeping.redact,
                now=now,
            )
            capture_counts.add(tx, Counter((row.adapter_id, now, REFUSED) for row in refused))
            terms.note(tx, list(uses.values()), now=now)

        self.database.run(write)

    def give_back(self, waiting: Sequence[Sequence[Pending]], error: ProbeError) -> None:
        """Release untried texts; count a failure of those that the model was working on."""
        tried = waiting[-1] if isinstance(error, ProbeFailed) and error.asked else []
        untried = [row for batch in waiting for row in batch if row not in tried]

        def write(tx: Connection) -> None:
            pending.fail(tx, tried, now=self.now())
            pending.release(tx, untried)

        self.database.run(write)

    def _uses(self, rows: Sequence[Pending]) -> dict[int, Use]:
        """Return the terms of the prompts by row number, before the prompts are dropped."""
        take = self.keeping.terms
        if take is None:
            return {}
        return {
            row.id: Use(
                adapter_id=row.adapter_id,
                at=row.at,
                record_id=row.record_id,
                terms=take(row.prompt),
            )
            for row in rows
            if row.prompt is not None
        }

    def _references(self, rows: Sequence[Pending]) -> dict[VersionId | None, Reference | None]:
        found = {row.version_id for row in rows if row.version_id is not None}
        return self.database.run(
            lambda tx: {version: references.current(tx, version) for version in found}
        )

    def _embedded(
        self, rows: Sequence[Pending], in_force: Mapping[VersionId | None, Reference | None]
    ) -> list[Embedded]:
        """Use a record's own embedding if it fits, else embed the prompt; and the answers."""
        own = {row.id for row in rows if _own_fits(row, in_force.get(row.version_id))}
        texts = {row.id: row.prompt for row in rows if row.prompt and row.id not in own}
        said = {row.id: row.output[:ANSWER] for row in rows if row.output and self.keeping.answers}
        wanted = [*texts.values(), *said.values()]
        made = self.embed.embed(wanted).astype("<f2") if wanted else np.empty(0)
        encoder = self.embed.encoder if wanted else ""
        bodies = [vector.tobytes() for vector in made]
        fresh = dict(zip(texts, bodies[: len(texts)], strict=True))
        answers = {
            number: EmbeddedAnswer(encoder=encoder, embedding=body)
            for number, body in zip(said, bodies[len(texts) :], strict=True)
        }
        return [
            Embedded(
                pending=row,
                encoder=encoder if row.id in fresh else row.encoder or "",
                embedding=fresh.get(row.id, row.embedding),
                answer=answers.get(row.id),
            )
            for row in rows
        ]

    def _placed(
        self, rows: Sequence[Embedded], in_force: Mapping[VersionId | None, Reference | None]
    ) -> list[Embedded]:
        """Place answers along the axes of their version's reference, if it has any."""
        by_reference: dict[ReferenceId, list[int]] = {}
        for place, row in enumerate(rows):
            reference = in_force.get(row.pending.version_id)
            if reference is not None and row.answer is not None:
                by_reference.setdefault(reference.id, []).append(place)
        placed = list(rows)
        for reference_id, places in by_reference.items():
            found = self.indexes.answers(self.database, reference_id)
            answers = [rows[place].answer for place in places]
            for place, answer in zip(places, _along(found, answers, reference_id), strict=True):
                placed[place] = replace(rows[place], answer=answer)
        return placed

    def _compared(
        self, rows: Sequence[Embedded], in_force: Mapping[VersionId | None, Reference | None]
    ) -> list[Embedded]:
        by_reference: dict[ReferenceId, list[Embedded]] = {}
        apart: list[Embedded] = []
        for row in rows:
            reference = in_force.get(row.pending.version_id)
            if reference is None or not row.embedding or not _fits(reference, row.encoder):
                apart.append(row)
            else:
                by_reference.setdefault(reference.id, []).append(row)
        for reference_id, same in by_reference.items():
            apart += self._against(reference_id, same)
        return apart

    def _against(self, reference_id: ReferenceId, rows: Sequence[Embedded]) -> list[Embedded]:
        index = self.indexes.open(self.database, reference_id)
        size = 2 * index.shape[1]
        fits = [row for row in rows if len(row.embedding or b"") == size]
        if not fits:
            return list(rows)
        queries = np.frombuffer(b"".join(row.embedding or b"" for row in fits), dtype="<f2")
        vectors = queries.reshape(len(fits), -1)
        found = nearest(index, vectors.astype(np.float32))
        axes = self.indexes.axes(self.database, reference_id)
        placed = None if axes is None else coordinates(axes, vectors).astype("<f4")
        done = [
            replace(
                row,
                similarity=float(similarity),
                coordinates=None if placed is None else placed[i].tobytes(),
                reference_id=reference_id,
            )
            for i, (row, similarity) in enumerate(zip(fits, found.similarity, strict=True))
        ]
        return done + [row for row in rows if len(row.embedding or b"") != size]


def _own_fits(row: Pending, reference: Reference | None) -> bool:
    """True if the record's own embedding is used."""
    if row.embedding is None:
        return False
    if row.prompt is None or reference is None or reference.encoder is None:
        return True
    return row.encoder == reference.encoder


def _along(
    found: tuple[str, bytes] | None, answers: Sequence[EmbeddedAnswer | None], to: ReferenceId
) -> list[EmbeddedAnswer | None]:
    """Place answers along stored axes; unchanged if another encoder made those."""
    known = [answer for answer in answers if answer is not None]
    if found is None or not known or found[0] != known[0].encoder:
        return list(answers)
    dimension = len(known[0].embedding) // 2
    vectors = np.frombuffer(b"".join(one.embedding for one in known), dtype="<f2")
    axes = load_axes(found[1], dimension=dimension)
    signals = place_answers(axes, vectors.reshape(len(known), -1)).astype("<f4")
    return [
        replace(answer, placed=row.tobytes(), reference_id=to)
        for answer, row in zip(known, signals, strict=True)
    ]


def _fits(reference: Reference, encoder: str) -> bool:
    return _has_index(reference) and reference.encoder == encoder


def _has_index(reference: Reference | None) -> bool:
    return reference is not None and reference.n_training > 0


def _why(rows: Sequence[Embedded], in_force: Mapping[VersionId | None, Reference | None]) -> str:
    for row in rows:
        reference = in_force.get(row.pending.version_id)
        refused = reference is not None and row.reference_id is None and bool(row.embedding)
        if refused and reference is not None and _has_index(reference):
            return f"made by {row.encoder!r}, the reference by {reference.encoder!r}"
    return ""
