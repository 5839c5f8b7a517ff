"""Take requests of records and feedback, and answer once they are durable."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from monitor.capture import decoding, parse
from monitor.capture.assemble import KeptFields, assemble
from monitor.capture.checks import Horizon, NotRegistered, RecordRefused, check_feedback
from monitor.capture.directory import Directory, Sender
from monitor.capture.errors import DiskFull
from monitor.capture.held import HeldRecords, RecordNames
from monitor.capture.parse import MAX_RECORDS, Parsed, Rejected
from monitor.capture.queue import QueueBounds, Submission, WriteQueue, jittered
from monitor.capture.quota import Quota
from monitor.capture.refusal import PatternUnfit, refusing
from monitor.capture.sampling import Rates
from monitor.capture.sieve import Sieve, Unregistered
from monitor.capture.telemetry import records as telemetry
from monitor.capture.telemetry.names import TelemetrySettings
from monitor.capture.training_texts import TrainingTexts
from monitor.capture.wire import Feedback, Record
from monitor.capture.writer import BatchWriter
from monitor.domain import AdapterId
from monitor.store.database import Database
from monitor.store.partitions import DEFAULT_RETENTION
from monitor.store.records.capture_counts import CountKey
from monitor.store.records.ingest import NUMBERS, FeedbackRow, RecordBatch, microseconds

_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of capture; section ``[capture]`` of the configuration."""

    target_per_day: int = 4_000
    trial_per_subject: int = 200
    """Records per hour, subject and key that a canary or shadow arm takes; 0 for no limit."""
    store_text: bool = False
    embed_prompts: bool = True
    """True if prompts are kept for the embedding probe."""
    terms: bool = True
    """True if prompts' terms are kept as hashes, and words that many subjects used in clear."""
    refusal_patterns: tuple[Path, ...] = ()
    """Files of patterns, in addition to the built-in lists of refusals."""
    retention: timedelta = DEFAULT_RETENTION["records"]
    tokens_retention: timedelta = DEFAULT_RETENTION["record_tokens"]
    max_body: int = decoding.MAX_BODY
    hold_unregistered: timedelta = timedelta(hours=1)
    """How long records of a version that is not registered wait for it; 0: they are refused."""
    bounds: QueueBounds = field(default_factory=QueueBounds)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    @property
    def kept(self) -> Mapping[str, timedelta]:
        """Retention per partitioned table, for :func:`partitions.maintain`."""
        aggregates = ("records", "record_embeddings", "answer_embeddings", "feedback")
        return {
            **DEFAULT_RETENTION,
            **dict.fromkeys(aggregates, self.retention),
            "record_tokens": min(self.tokens_retention, self.retention),
        }

    @property
    def problems(self) -> list[str]:
        """List what cannot work, each with its key."""
        found = [
            f"{name}: must be {least} or more"
            for name, least, number in (
                ("target_per_day", 1, self.target_per_day),
                ("trial_per_subject", 0, self.trial_per_subject),
                ("max_body", 1, self.max_body),
                ("bounds.rows", 1, self.bounds.rows),
                ("bounds.bytes", 1, self.bounds.bytes),
                ("bounds.rows_per_commit", 1, self.bounds.rows_per_commit),
                ("bounds.linger", 0, self.bounds.linger),
                ("bounds.patience", 0, self.bounds.patience),
            )
            if not least <= number < math.inf
        ]
        if self.retention <= timedelta():
            found.append("retention: must be longer than 0")
        for path in self.refusal_patterns:
            try:
                refusing([path])
            except PatternUnfit as error:
                found.append(f"refusal_patterns: {error}")
        if problem := self.telemetry.problem:
            found.append(f"telemetry.pattern: {problem}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeOutcome:
    """The counts of a request's items by result; they add up to the items sent.

    ``accepted`` items are stored now, ``duplicates`` were stored before, ``sampled_out`` were not
    needed, ``held`` wait in memory for their version, ``rejected`` were wrong. Only the rejected
    need to be sent again.
    """

    accepted: int
    duplicates: int
    sampled_out: int
    rejected: Sequence[Rejected]
    held: Sequence[Rejected] = ()
    """The reasons why they cannot be stored yet."""

    def together(self, other: IntakeOutcome) -> IntakeOutcome:
        """Return the outcome of both parts of one request."""
        return IntakeOutcome(
            accepted=self.accepted + other.accepted,
            duplicates=self.duplicates + other.duplicates,
            sampled_out=self.sampled_out + other.sampled_out,
            rejected=(*self.rejected, *other.rejected),
            held=(*self.held, *other.held),
        )


_ANYBODY: Final = Sender()


class Intake:
    """The entry for records, spans and feedback; many threads may call it.

    With ``answers``, the texts of answers are kept for the embedding probe too.
    """

    def __init__(
        self,
        database: Database,
        *,
        subject_key: bytes,
        settings: Settings | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        answers: bool = False,
    ) -> None:
        self._settings = settings or Settings()
        self._room = database.room
        self._resolve = Directory(database).resolve
        self._clock = clock
        self._rates = Rates(database, target_per_day=self._settings.target_per_day, clock=clock)
        self._quota = Quota(self._settings.trial_per_subject)
        self._keeping = KeptFields(
            subject_key=subject_key,
            prompts=self._settings.embed_prompts or self._settings.store_text,
            outputs=answers or self._settings.store_text,
            tokens_for=self._settings.tokens_retention,
            refuses=refusing(self._settings.refusal_patterns),
            training_of=TrainingTexts(database, key=subject_key).of,
        )
        self._writer = BatchWriter(database, clock=clock, retention=self._settings.kept)
        self._queue = WriteQueue(self._writer.write, self._settings.bounds)
        self._held = HeldRecords(
            hold=self._settings.hold_unregistered,
            is_registered=self._is_registered,
            take=self._take_held,
        )

    def start(self) -> None:
        """Start the writer's thread, and that of the records that wait for their version."""
        self._queue.start()
        self._held.start()

    def close(self, *, timeout: float = 20.0) -> bool:
        """Refuse new requests and write the waiting ones; False if that took too long."""
        until = time.monotonic() + timeout
        self._held.close(timeout=timeout / 2)
        timeout = max(0.0, until - time.monotonic())
        return self._queue.close(timeout=timeout)

    def depth(self) -> tuple[int, int]:
        """Return the rows and bytes waiting to be written."""
        return self._queue.depth()

    def held(self) -> int:
        """Return how many records wait for their version to be registered."""
        return sum(self._held.waiting().values())

    def records(
        self,
        body: bytes,
        *,
        content_type: str,
        content_encoding: str | None = None,
        sender: Sender = _ANYBODY,
    ) -> IntakeOutcome:
        """Take a body of ``POST /v1/records``; return once every accepted record is durable.

        Raises a ``CaptureError`` if the request as a whole is refused.
        """
        plain, now = self._read(body, content_encoding, sender)
        parsed = parse.parse(plain, parse.RECORDS, content_type=content_type)
        return self._take_parsed(parsed, now, sender, size=len(plain), noun="records")

    def spans(
        self,
        body: bytes,
        *,
        content_type: str,
        content_encoding: str | None = None,
        sender: Sender = _ANYBODY,
    ) -> IntakeOutcome:
        """Take a body of ``POST /v1/traces``, under the same rules as ``records``.

        Spans that are no calls of an adapter are passed over, and counted nowhere.
        """
        plain, now = self._read(body, content_encoding, sender)
        found = telemetry.records(
            plain,
            content_type=content_type,
            settings=self._settings.telemetry,
            is_adapter=lru_cache(partial(self._is_adapter, sender)),
        )
        outcome = IntakeOutcome(accepted=0, duplicates=0, sampled_out=0, rejected=())
        # in parts, each as large as a request of records may be
        while part := list(islice(found, MAX_RECORDS)):
            parsed = Parsed(
                items=[one for one in part if isinstance(one, tuple)],
                rejected=[one for one in part if isinstance(one, Rejected)],
            )
            taken = self._take_parsed(parsed, now, sender, size=len(plain), noun=telemetry.NOUN)
            outcome = outcome.together(taken)
        return outcome

    def feedback(
        self,
        body: bytes,
        *,
        content_type: str,
        content_encoding: str | None = None,
        sender: Sender = _ANYBODY,
    ) -> IntakeOutcome:
        """Take a body of ``POST /v1/feedback``, under the same rules as ``records``."""
        plain, now = self._read(body, content_encoding, sender)
        parsed = parse.parse(plain, parse.FEEDBACK, content_type=content_type)
        horizon = Horizon(now=now, retention=self._settings.retention)
        rows: list[FeedbackRow] = []
        rejected = list(parsed.rejected)
        for index, item in parsed.items:
            try:
                rows.append(self._feedback_row(item, horizon, sender))
            except RecordRefused as error:
                rejected.append(Rejected(index=index, error=f"feedback[{index}].{error}"))
        submission = self._submit(_only_feedback(rows), Counter(), len(plain), sender)
        accepted = sum(submission.fresh_feedback)
        return IntakeOutcome(
            accepted=accepted,
            duplicates=len(rows) - accepted,
            sampled_out=0,
            rejected=_in_order(rejected),
        )

    def shares(
        self, sampled_out: Mapping[str, int], *, sender: Sender = _ANYBODY
    ) -> dict[str, float]:
        """Return the share of records to keep, by adapter, for an upstream sampler.

        Parameters
        ----------
        sampled_out
            The number of requests that the sampler dropped since its last call, by adapter; 0 for
            none. They count as traffic, which the share follows. Adapters that are unknown, or that
            the sender may not send for, are left out.

        Raises a ``CaptureError`` if the counts could not be stored.
        """
        now = self._clock()
        counts: Counter[CountKey] = Counter()
        known: dict[str, AdapterId] = {}
        for adapter, count in sampled_out.items():
            try:
                known[adapter] = self._adapter(adapter, sender)
            except RecordRefused:
                continue
            if count:
                counts[known[adapter], now, "sampled_out"] = count
        self._submit(_only_feedback(()), counts, 0, sender)
        return {adapter: self._rates.of(adapter_id) for adapter, adapter_id in known.items()}

    def _adapter(self, adapter: str, sender: Sender) -> AdapterId:
        return self._resolve(adapter, None, None, sender).adapter_id

    def _admit(self, sender: Sender) -> None:
        if self._room.full():
            raise DiskFull(retry_after=jittered())
        self._queue.admit(sender.name)

    def _read(
        self, body: bytes, content_encoding: str | None, sender: Sender
    ) -> tuple[bytes, datetime]:
        self._admit(sender)
        plain = decoding.decode(body, content_encoding, limit=self._settings.max_body)
        return plain, self._clock()

    def _is_adapter(self, sender: Sender, name: str) -> bool:
        return self._is_registered(RecordNames(name, None, None), sender)

    def _is_registered(self, wanted: RecordNames, sender: Sender) -> bool:
        try:
            self._resolve(*wanted, sender)
        except NotRegistered:
            return False
        return True

    def _take_held(self, records: Sequence[Record], sender: Sender) -> None:
        """Take held records of one name, as if they came now; raise if there is no room."""
        self._admit(sender)
        parsed = Parsed(items=list(enumerate(records)), rejected=())
        # no quota: what fails is tried again, and would count again
        outcome = self._take_parsed(
            parsed, self._clock(), sender, size=0, noun="held", quota=Quota(0)
        )
        for one in outcome.rejected:
            adapter = records[one.index].adapter
            _LOG.warning("held_record_refused", adapter=adapter, reason=one.error)

    def _take_parsed(
        self,
        parsed: Parsed[Record],
        now: datetime,
        sender: Sender,
        *,
        size: int,
        noun: str,
        quota: Quota | None = None,
    ) -> IntakeOutcome:
        horizon = Horizon(now=now, retention=self._settings.retention)
        sieve = Sieve(self._resolve, self._rates, horizon, sender, quota or self._quota, noun=noun)
        for index, record in parsed.items:
            sieve.take(index, record)
        for adapter_id, count in sieve.sampled.items():
            self._rates.kept(adapter_id, count)
        batch = assemble(
            sieve.admitted,
            self._writer.context_ids(sieve.contexts()),
            keeping=self._keeping,
            now=now,
        )
        submission = self._submit(batch, sieve.counts, size, sender)
        accepted = sum(submission.fresh_records)
        held, refused = self._hold(sieve.unregistered, sender)
        return IntakeOutcome(
            accepted=accepted,
            duplicates=len(batch) - accepted,
            sampled_out=sieve.sampled_out,
            rejected=_in_order([*parsed.rejected, *sieve.rejected, *refused]),
            held=held,
        )

    def _hold(
        self, unregistered: Sequence[Unregistered], sender: Sender
    ) -> tuple[list[Rejected], list[Rejected]]:
        """Hold records as long as there is room; return the reasons of the held and the refused."""
        held: list[Rejected] = []
        refused: list[Rejected] = []
        for one in unregistered:
            where = held if self._held.hold(one.record, sender) else refused
            where.append(Rejected(index=one.index, error=one.error))
        return held, refused

    def _feedback_row(self, item: Feedback, horizon: Horizon, sender: Sender) -> FeedbackRow:
        check_feedback(item, horizon)
        adapter_id = self._adapter(item.adapter, sender)
        return FeedbackRow(adapter_id, microseconds(item.at), item.id, item.name, item.value)

    def _submit(
        self, batch: RecordBatch, counts: Counter[CountKey], size: int, sender: Sender
    ) -> Submission:
        submission = Submission(batch=batch, counts=counts, size=size, sender=sender.name)
        if len(batch) or batch.feedback or counts:
            self._queue.submit(submission)
        return submission


_NOTHING: Final = np.empty(0)


def _only_feedback(rows: Sequence[FeedbackRow]) -> RecordBatch:
    return RecordBatch(
        adapter_id=np.empty(0, dtype=np.int64),
        at=np.empty(0, dtype=np.int64),
        id=(),
        numbers=dict.fromkeys(NUMBERS, _NOTHING),
        finish_reason=(),
        subject=(),
        feedback=rows,
    )


def _in_order(rejected: Iterable[Rejected]) -> list[Rejected]:
    return sorted(rejected, key=lambda one: one.index)
