"""Resolve, check and sample the records of one request."""

from __future__ import annotations

from collections import Counter
from dataclasses import KW_ONLY, dataclass, field

from monitor.capture.assemble import SETTINGS, Admitted, context_of
from monitor.capture.checks import (
    Horizon,
    NotRegistered,
    RecordRefused,
    Tokens,
    check_record,
    tokens_of,
    unit_vector,
)
from monitor.capture.directory import Resolve, Resolved, Sender
from monitor.capture.keeping import ALWAYS_KEPT, keep
from monitor.capture.parse import Rejected
from monitor.capture.quota import Quota
from monitor.capture.sampling import Rates
from monitor.capture.wire import Record
from monitor.domain import AdapterId
from monitor.store.records.capture_counts import BACKFILLED, CountKey
from monitor.store.records.contexts import Context


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unregistered:
    """A sound record of no adapter or version of its sender, and its place in the request."""

    index: int
    record: Record
    error: str


@dataclass(slots=True, eq=False)
class Sieve:
    """The resolving, checking and sampling of one request's records; every loss is counted."""

    resolve: Resolve
    rates: Rates
    horizon: Horizon
    sender: Sender
    quota: Quota
    _: KW_ONLY
    noun: str
    _resolved: dict[tuple[str, str | None, str | None], Resolved] = field(
        default_factory=dict, init=False
    )
    _rate_of: dict[AdapterId, float] = field(default_factory=dict, init=False)
    admitted: list[Admitted] = field(default_factory=list, init=False)
    rejected: list[Rejected] = field(default_factory=list, init=False)
    unregistered: list[Unregistered] = field(default_factory=list, init=False)
    counts: Counter[CountKey] = field(default_factory=Counter, init=False)
    sampled: Counter[AdapterId] = field(default_factory=Counter, init=False)
    sampled_out: int = field(default=0, init=False)

    def take(self, index: int, record: Record) -> None:
        adapter_id: AdapterId | None = None
        try:
            resolved = self._found(record)
            adapter_id = resolved.adapter_id
            tokens, embedding = self._checked(record)
        except NotRegistered as error:
            self._set_aside(index, record, error)
            return
        except RecordRefused as error:
            self._reject(index, error)
            if adapter_id is not None:
                self._count(adapter_id, "rejected")
            return
        rate = 1.0 if resolved.arm in ALWAYS_KEPT else self._rate(adapter_id)
        if not (keep(record.adapter, record.id, rate) and self._may_say(record, resolved)):
            self.sampled_out += 1
            self._count(adapter_id, "sampled_out")
            if self.horizon.is_backfill(record.at):
                self._count(adapter_id, BACKFILLED)
            return
        self.sampled[adapter_id] += 1
        probability = record.sample_prob * rate
        self.admitted.append(Admitted(record, resolved, probability, tokens, embedding))

    def _set_aside(self, index: int, record: Record, error: NotRegistered) -> None:
        try:
            self._checked(record)
        except RecordRefused as wrong:
            self._reject(index, wrong)
            return
        if not self.sender.may_name(record.adapter):
            self._reject(index, error)
            return
        said = self._said(index, error)
        self.unregistered.append(Unregistered(index=index, record=record, error=said))

    def _checked(self, record: Record) -> tuple[Tokens | None, bytes | None]:
        check_record(record, self.horizon)
        return tokens_of(record), unit_vector(record)

    def _reject(self, index: int, error: RecordRefused) -> None:
        self.rejected.append(Rejected(index=index, error=self._said(index, error)))

    def _said(self, index: int, error: RecordRefused) -> str:
        return f"{self.noun}[{index}].{error}"

    def _may_say(self, record: Record, resolved: Resolved) -> bool:
        if resolved.arm not in ALWAYS_KEPT or record.subject is None:
            return True
        who = (self.sender.name, resolved.version_id, resolved.arm, hash(record.subject))
        return self.quota.allows(who)

    def contexts(self) -> list[Context]:
        """Return the context of each admitted record; cached, because most share one."""
        known: dict[tuple[object, ...], Context] = {}
        found = []
        for one in self.admitted:
            key = (one.resolved.arm, *SETTINGS(one.record))
            if key not in known:
                known[key] = context_of(one.record, one.resolved)
            found.append(known[key])
        return found

    def _found(self, record: Record) -> Resolved:
        key = (record.adapter, record.version, record.arm)
        if key not in self._resolved:
            self._resolved[key] = self.resolve(*key, self.sender)
        return self._resolved[key]

    def _rate(self, adapter_id: AdapterId) -> float:
        if adapter_id not in self._rate_of:
            self._rate_of[adapter_id] = self.rates.of(adapter_id)
        return self._rate_of[adapter_id]

    def _count(self, adapter_id: AdapterId, outcome: str) -> None:
        self.counts[adapter_id, self.horizon.now, outcome] += 1
