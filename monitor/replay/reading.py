"""A log file as measured records, separately for each adapter version in it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from driftline.formats.lines import Form, Mapped, Unreadable, read
from monitor.capture import subjects
from monitor.capture.assemble import Admitted
from monitor.capture.checks import RecordRefused, check_record, tokens_of, unit_vector
from monitor.capture.directory import Resolved
from monitor.capture.parse import explain
from monitor.capture.refusal import Refuses, refuses
from monitor.capture.shingles import TrainingShingles
from monitor.capture.wire import Record
from monitor.domain import AdapterId, VersionId
from monitor.probes.embedding import Embedder
from monitor.reference import fitting
from monitor.reference.baseline import ANY_TIME, Baseline, concatenate, from_admitted
from monitor.reference.lines import text_hash
from monitor.replay.errors import ReplayFailed
from monitor.replay.files import lines, object_of
from monitor.replay.tally import WITHOUT_TIME, Tally
from monitor.replay.watch import Watch

MOST_RECORDS: Final = 500_000
"""Records held at once: about 1.2 KB each with an embedding, 0.4 KB without."""
EXCERPT: Final = 200
UNNAMED: Final = "unnamed"
"""Name of the adapter where a log's lines name none."""
_BATCH: Final = 512
_BURST_SECONDS: Final = 60.0
_BURST_RECORDS: Final = 50
_NOWHERE: Final = Resolved(AdapterId(0), VersionId(0), None)
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SUBJECT_KEY: Final = bytes(32)
"""No secret: the digests stay in memory, and their order decides the last digit of sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReading:
    """The settings by which a log is read.

    adapter
        Keep this adapter (or this ``adapter@version``) only.
    apart
        Allow several adapters; otherwise several are an error that names them.
    per_day
        Spread the records evenly over time, this many a day, in the order of the file,
        instead of using their times.
    begin
        Time of the first of evenly spread records.
    strict
        Stop at the first bad line.
    excerpts
        Keep the first 200 characters of each prompt, to be shown.
    answers
        Embed answers too, for ``output_similarity``.
    refuses
        Decides whether an answer is a refusal.
    """

    form: Form | None = None
    adapter: str | None = None
    apart: bool = False
    per_day: float | None = None
    begin: datetime = _EPOCH
    strict: bool = False
    excerpts: bool = False
    answers: bool = True
    refuses: Refuses = refuses


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadLog:
    """The contents of a file.

    ``records`` are in order of time, by label (``support@v7``). ``excerpts`` are beginnings of
    prompts by time of record, where they were asked for.
    """

    path: Path
    tally: Tally
    records: Mapping[str, Baseline]
    excerpts: Mapping[float, str]


def read_log(
    path: Path,
    given: LogReading,
    *,
    embed: Embedder | None,
    watch: Watch,
    not_measured: frozenset[bytes] = frozenset(),
    key: bytes | None = None,
    learned: TrainingShingles | None = None,
) -> ReadLog:
    """Read and measure a log.

    Parameters
    ----------
    embed
        Turns prompts into vectors; None: prompts are not looked at.
    not_measured, key
        Hashes under this key of texts whose prompts are not to be embedded: those the
        training index has.
    learned
        Training texts that answers may repeat.

    Raises
    ------
    ReplayFailed
        It cannot be read, holds no usable record, several adapters where one was meant,
        more records than fit, or times that say nothing.
    """
    reader = _Reader(
        given=given,
        embed=embed,
        not_measured=not_measured,
        key=key or secrets.token_bytes(32),
        learned=learned,
    )
    for number, line in lines(path, watch, stage=f"reading {path.name}"):
        reader.take(number, line)
    return reader.finish(path)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A usable line: the label of its version, and its fields."""

    label: str
    number: int
    mapped: Mapped

    def admitted(self, at: datetime) -> Admitted:
        """Check the record, and measure what is told of tokens; raises RecordRefused."""
        record = _record(self.mapped, self.number, at=at)
        check_record(record, ANY_TIME)
        return Admitted(
            record=record,
            resolved=_NOWHERE,
            sample_prob=1.0,
            tokens=tokens_of(record),
            embedding=unit_vector(record),
        )


def parsed(number: int, line: bytes | None, given: LogReading) -> Line | None:
    """Read a line; None for a training text.

    Raises
    ------
    Unreadable, RecordRefused
        It is no record; the text says why.
    """
    fields = object_of(line)
    if fields.get("role") == "training":
        return None
    mapped = read(fields, given.form)
    return Line(label=label_of(mapped.adapter, mapped.version), number=number, mapped=mapped)


def wanted(label: str, given: LogReading) -> bool:
    """Whether the version is to be replayed."""
    return given.adapter in {None, label, label.partition("@")[0]}


def time_of(line: Line, given: LogReading, *, place: int) -> datetime:
    """Return a record's time; evenly spread ones have it from their place in their version's."""
    if given.per_day is not None:
        return given.begin + timedelta(days=place / given.per_day)
    if line.mapped.at is None:
        raise Unreadable(WITHOUT_TIME)
    return line.mapped.at


@dataclass(slots=True)
class _Pending:
    """Records of one label: those to be measured together, and those measured."""

    admitted: list[Admitted] = field(default_factory=list)
    subjects: list[bytes | None] = field(default_factory=list)
    parts: list[Baseline] = field(default_factory=list)
    count: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class _Reader:
    given: LogReading
    embed: Embedder | None
    not_measured: frozenset[bytes]
    key: bytes
    learned: TrainingShingles | None
    tally: Tally = field(default_factory=Tally)
    labels: dict[str, _Pending] = field(default_factory=dict)
    excerpts: dict[float, str] = field(default_factory=dict)

    def take(self, number: int, line: bytes | None) -> None:
        self.tally.lines += 1
        try:
            found = parsed(number, line, self.given)
            if found is not None:
                self._keep(found)
        except (Unreadable, RecordRefused) as refused:
            self.tally.refuse(number, str(refused), strict=self.given.strict)

    def finish(self, path: Path) -> ReadLog:
        if not self.labels:
            raise ReplayFailed(self.tally.why_nothing(path.name, self.given.adapter))
        self._adopt_unnamed()
        self._explain_several(path)
        records = {}
        for label, pending in self.labels.items():
            self._measure(pending)
            records[label] = concatenate(pending.parts)
            _refuse_burst(path, records[label], self.given)
        return ReadLog(
            path=path,
            tally=self.tally,
            records=records,
            excerpts=self.excerpts,
        )

    def _keep(self, line: Line) -> None:
        label = line.label
        if not wanted(label, self.given):
            self.tally.pass_over(label)
            return
        known = self.labels.get(label, _Pending())
        admitted = line.admitted(time_of(line, self.given, place=known.count))
        record = admitted.record
        pending = self.labels.setdefault(label, known)
        pending.count += 1
        if not self.given.apart and len(self._named()) > 1:
            return  # no longer measured, only counted for the message
        if self.given.excerpts and record.prompt:
            self.excerpts[record.at.timestamp()] = record.prompt[:EXCERPT]
        pending.admitted.append(self._to_measure(admitted))
        pending.subjects.append(
            None if record.subject is None else subjects.digest(_SUBJECT_KEY, record.subject)
        )
        if len(pending.admitted) >= _BATCH:
            self._measure(pending)
        self._bound()

    def _to_measure(self, admitted: Admitted) -> Admitted:
        """Leave out a prompt that is not to be embedded."""
        prompt = admitted.record.prompt
        if prompt and (
            self.embed is None
            or (self.not_measured and text_hash(prompt, key=self.key) in self.not_measured)
        ):
            without = msgspec.structs.replace(admitted.record, prompt=None)
            return admitted._replace(record=without)
        return admitted

    def _measure(self, pending: _Pending) -> None:
        if not pending.admitted:
            return
        part = from_admitted(
            pending.admitted, pending.subjects, refuses=self.given.refuses, training=self.learned
        )
        if self.embed is not None:
            part = fitting.with_vectors(part, self.embed)
        if self.embed is not None and self.given.answers:
            part = fitting.with_answers(part, self.embed)
        part = fitting.without_texts(part)
        pending.parts.append(part)
        pending.admitted, pending.subjects = [], []

    def _bound(self) -> None:
        if sum(one.count for one in self.labels.values()) > MOST_RECORDS:
            raise ReplayFailed(
                f"more than {MOST_RECORDS:,} records: replay a shorter time or one adapter"
                " of them (--adapter)"
            )

    def _named(self) -> list[str]:
        return [label for label in self.labels if label != UNNAMED]

    def _adopt_unnamed(self) -> None:
        """Give failed requests without a model to the only adapter, if there is just one."""
        named = self._named()
        if len(named) != 1 or UNNAMED not in self.labels:
            return
        one, unnamed = self.labels[named[0]], self.labels.pop(UNNAMED)
        one.count += unnamed.count
        one.admitted += unnamed.admitted
        one.subjects += unnamed.subjects
        one.parts += unnamed.parts

    def _explain_several(self, path: Path) -> None:
        if self.given.apart or len(self.labels) == 1:
            return
        counted = Counter({label: one.count for label, one in self.labels.items()})
        names = ", ".join(f"{label} ({count})" for label, count in counted.most_common(10))
        raise ReplayFailed(
            f"{path.name} has records of {len(counted)} versions: {names};"
            " choose one with --adapter, or replay each apart with --by-model"
        )


def label_of(adapter: str | None, version: str | None) -> str:
    """Write ``support@v7``, or the adapter alone where no version is named."""
    return f"{adapter or UNNAMED}@{version}" if version else adapter or UNNAMED


def split(records: Baseline, first: int | timedelta) -> tuple[Baseline, Baseline]:
    """Cut the first records, by number or by time, from the rest."""
    if isinstance(first, int):
        count = first
    else:
        count = int((records.at < records.at[0] + first.total_seconds()).sum())
    every = np.arange(len(records))
    return records.take(every[:count]), records.take(every[count:])


def _record(mapped: Mapped, number: int, *, at: datetime) -> Record:
    own: dict[str, Any] = {
        "id": mapped.fields.get("id") or f"line-{number}",
        "adapter": mapped.adapter or UNNAMED,
        "at": at,
    }
    if mapped.version is not None:
        own["version"] = mapped.version
    try:
        return msgspec.convert(mapped.fields | own, Record)
    except msgspec.ValidationError as error:
        raise RecordRefused(explain(str(error), "record", Record)) from error


def _refuse_burst(path: Path, records: Baseline, given: LogReading) -> None:
    """Refuse records stamped with the time of their batch: their real times are unknown."""
    if given.per_day is not None or len(records) < _BURST_RECORDS:
        return
    seconds = float(records.at[-1] - records.at[0])
    if seconds < _BURST_SECONDS:
        raise ReplayFailed(
            f"{path.name}: {len(records)} records within {seconds:.0f} s look like the export of"
            " a batch; --rate says how many requests a day the adapter answers, and spreads them"
        )
