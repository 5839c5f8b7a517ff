"""Take a reference as NDJSON: streamed, checked line by line, stored whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.capture import subjects
from monitor.capture.checks import Horizon, RecordRefused
from monitor.domain import Reference, Version
from monitor.reference.lines import BaselineLine, Line, TrainingLine, read_line, text_hash
from monitor.store.database import Database
from monitor.store.references import reference_items, references
from monitor.store.references.reference_items import Item, ItemRole
from monitor.store.references.references import LeaseLost, ReferenceClaim, ReferenceSource

MOST_PROBLEMS: Final = 20
"""Problems reported in full; more are counted."""
MOST_SHARED: Final = 0.05
"""The largest share of baseline lines that also occur in training; such lines are dropped."""
OLDEST: Final = timedelta(days=3650)
_STAGED_LINES: Final = 500
_STAGED_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """The limits of an upload; lines beyond a limit are problems."""

    line_bytes: int = 1024 * 1024
    training: int = 1_000_000
    baseline: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProblem:
    """A wrong line, counted from 1; 0 means the upload as a whole."""

    line: int
    error: str


class UploadRefused(Exception):  # noqa: N818 - the sender's fault, not ours
    """Nothing was stored; ``problems`` are the first of ``total``."""

    def __init__(self, problems: tuple[UploadProblem, ...], *, total: int) -> None:
        first = problems[0]
        super().__init__(f"line {first.line}: {first.error} ({total} problems; nothing was kept)")
        self.problems = problems
        self.total = total


def begin_upload(
    database: Database,
    *,
    version: Version,
    cause: str,
    created_by: str,
    limits: UploadLimits | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Upload:
    """Open the next generation of a version's reference, to be filled with lines."""
    claim = database.run(
        lambda tx: references.create(
            tx,
            version_id=version.id,
            source=ReferenceSource.UPLOAD,
            cause=cause,
            created_by=created_by,
            request={},
            held=True,
        )
    )
    horizon = Horizon(now=now(), retention=OLDEST)
    return Upload(
        database, claim, version=version, limits=limits or UploadLimits(), horizon=horizon
    )


class Upload:
    """Takes a stream of bytes in any chunks; memory is bounded by one line and one batch.

    After the first wrong line nothing more is stored, but checking goes on, so that the sender
    learns of all problems at once. One thread at a time.
    """

    def __init__(
        self,
        database: Database,
        claim: ReferenceClaim,
        *,
        version: Version,
        limits: UploadLimits,
        horizon: Horizon,
    ) -> None:
        self._database = database
        self._claim = claim
        self._version = version
        self._limits = limits
        self._horizon = horizon
        # a key for comparing texts and subjects within this upload only
        self._key = secrets.token_bytes(32)
        self._lines = LineSplitter(longest=limits.line_bytes)
        self._line = 0
        self._batch: list[Item] = []
        self._batch_bytes = 0
        self._counts = dict.fromkeys(ItemRole, 0)
        self._seen: dict[bytes, int] = {}
        self._index_kind: tuple[str | None, int] | None = None
        self._problems: list[UploadProblem] = []
        self._total = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises
        ------
        UploadRefused
            The upload paused for so long that it was given up.
        """
        for line in self._lines.feed(chunk):
            self._end_line(line)

    def finish(self) -> Reference:
        """Release the reference to the builders.

        Raises
        ------
        UploadRefused
            A line was wrong, or more than 5 % of the baseline lines also occur in training, by text
            or subject (fewer are dropped). Nothing was stored.
        """
        for line in self._lines.end():
            self._end_line(line)
        if not self._counts[ItemRole.BASELINE] and not self._total:
            self._problem(0, "no baseline lines: nothing to compare live records with")
        self._flush()
        shared = 0 if self._total else self._shared()
        if self._total:
            self.abort()
            raise UploadRefused(tuple(self._problems), total=self._total)
        return self._database.run(lambda tx: self._seal(tx, left_out=shared))

    def abort(self) -> None:
        """Discard the upload; safe to call in any state."""
        try:
            self._database.run(lambda tx: references.discard(tx, self._claim))
        except LeaseLost:
            return

    def _end_line(self, line: bytes | None) -> None:
        self._line += 1
        if line is None:
            self._problem(self._line, f"longer than {self._limits.line_bytes} bytes")
            return
        if not line.strip():
            return
        try:
            read = read_line(
                line,
                adapter=self._version.adapter,
                version=self._version.name,
                horizon=self._horizon,
            )
            self._keep(self._checked(read), line)
        except RecordRefused as refused:
            self._problem(self._line, str(refused))

    def _checked(self, line: Line) -> Item:
        match line:
            case TrainingLine():
                self._count(ItemRole.TRAINING, self._limits.training)
                self._check_index(line)
                return self._item(ItemRole.TRAINING, text=line.text, subject=line.subject)
            case BaselineLine(record=record):
                self._count(ItemRole.BASELINE, self._limits.baseline)
                self._check_twice(f"{record.id}\0{record.at.timestamp()}")
                return self._item(
                    ItemRole.BASELINE, text=record.prompt, subject=record.subject, at=record.at
                )

    def _count(self, role: ItemRole, most: int) -> None:
        self._counts[role] += 1
        if self._counts[role] > most:
            raise RecordRefused(f"role: more than {most} {role.value} lines")

    def _check_index(self, line: TrainingLine) -> None:
        """Require that all training lines fit into one index."""
        kind = (line.encoder, 0 if line.vector is None else len(line.vector) // 2)
        self._index_kind = self._index_kind or kind
        if kind != self._index_kind:
            raise RecordRefused(
                f"training: {_kind(kind)} after {_kind(self._index_kind)};"
                " send one kind, by one encoder"
            )

    def _check_twice(self, name: str) -> None:
        key = text_hash(name, key=self._key)[:8]
        first = self._seen.setdefault(key, self._line)
        if first != self._line:
            raise RecordRefused(f"id: this id and time stand in line {first} already")

    def _item(
        self, role: ItemRole, *, text: str | None, subject: str | None, at: datetime | None = None
    ) -> Item:
        return Item(
            seq=self._line,
            role=role,
            text_hash=text_hash(text, key=self._key) if text else None,
            subject=subjects.digest(self._key, subject) if subject else None,
            at=at,
            body=b"",
        )

    def _keep(self, item: Item, line: bytes) -> None:
        if self._total:
            return
        self._batch.append(replace(item, body=line))
        self._batch_bytes += len(line)
        if len(self._batch) >= _STAGED_LINES or self._batch_bytes >= _STAGED_BYTES:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if self._total:
            return
        try:
            self._database.run(lambda tx: reference_items.stage(tx, self._claim, batch))
        except LeaseLost as lost:
            paused = UploadProblem(
                line=self._line, error="the upload paused for over 2 minutes and was given up"
            )
            raise UploadRefused((paused,), total=1) from lost

    def _shared(self) -> int:
        """Count the baseline lines that also occur in training; too many are problems."""
        found = self._database.run(
            lambda tx: reference_items.overlap(tx, self._claim, examples=MOST_PROBLEMS)
        )
        if found.count <= MOST_SHARED * self._counts[ItemRole.BASELINE]:
            return found.count
        for line, by in found.first:
            self._problem(line, f"baseline: its {by} is among the training lines too")
        self._total = max(self._total, found.count)
        return 0

    def _seal(self, tx: Connection, *, left_out: int) -> Reference:
        if left_out:
            reference_items.leave_out(tx, self._claim)
        return references.seal(
            tx,
            self._claim,
            n_training=self._counts[ItemRole.TRAINING],
            n_baseline=self._counts[ItemRole.BASELINE] - left_out,
            left_out=left_out,
        )

    def _problem(self, line: int, error: str) -> None:
        self._total += 1
        self._batch = []
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(UploadProblem(line=line, error=error))


def _kind(kind: tuple[str | None, int]) -> str:
    encoder, dimension = kind
    return f"an embedding of {dimension} numbers by {encoder!r}" if encoder else "a text"


class LineSplitter:
    """Yields the complete lines of a stream; None for one longer than ``longest`` bytes."""

    def __init__(self, *, longest: int) -> None:
        self._longest = longest
        self._rest = b""
        self._too_long = False

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """Take the next bytes and return the lines that ended in them."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        ended = [self._line(line) for line in lines]
        if len(self._rest) > self._longest:
            self._too_long, self._rest = True, b""
        return ended

    def end(self) -> list[bytes | None]:
        """Return the last line, if it had no line end."""
        if not self._rest and not self._too_long:
            return []
        line, self._rest = self._rest, b""
        return [self._line(line)]

    def _line(self, line: bytes) -> bytes | None:
        too_long = self._too_long or len(line) > self._longest
        self._too_long = False
        return None if too_long else line
