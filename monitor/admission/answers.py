"""Check by the served model what it has learned: too well, at all, and at which cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
import numpy as np

from detectors.checks import Check, CheckVerdict
from detectors.effect import EFFECT, GENERAL, effect_check, general_check
from detectors.gap import gap_check
from detectors.perplexity import DocumentScores
from monitor.admission.settings import AdmissionSettings
from monitor.domain import Version
from monitor.probes.asking import Target, local_folder
from monitor.probes.corpus import Corpus, CorpusRole, Document
from monitor.probes.errors import ProbeError
from monitor.probes.perplexity import PerplexityRun

GAP: Final = "gap"


class GivenTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that came with the request; they are forgotten once the report is written."""

    training: list[str] = []
    held_out: list[str] = []


class ReadsTexts(Protocol):
    """The part of :class:`monitor.probes.asking.ModelProbe` that is needed here."""

    def corpora(self, adapter: str) -> tuple[Corpus, ...]: ...
    def score(self, target: Target, corpus: Corpus) -> PerplexityRun: ...
    def base_of(self, target: Target) -> Target | None: ...


def check_answers(
    version: Version, given: GivenTexts, settings: AdmissionSettings, *, via: ReadsTexts | None
) -> Iterator[Check]:
    """Let the served version and its base read texts, and judge the differences, one by one.

    Each check is skipped by itself where its texts, the engine or the base are missing. Texts that
    two checks need are read once.
    """
    reader = _Reader(version=version, given=given, via=via)
    limits = settings.effect
    checks: Mapping[str, Callable[[], Check]] = {
        GAP: lambda: gap_check(reader.training(), reader.held_out(), settings.gap),
        EFFECT: lambda: effect_check(reader.held_out(of_base=True), reader.held_out(), limits),
        GENERAL: lambda: general_check(reader.general(of_base=True), reader.general(), limits),
    }
    for name, check in checks.items():
        try:
            yield check()
        except (_NotRead, ProbeError) as reason:
            yield Check(name=name, verdict=CheckVerdict.SKIPPED, reason=str(reason))


class _NotRead(Exception):  # noqa: N818 (it says what happened)
    """Texts, engine or base are missing, or the engine had others to serve."""


@dataclass(kw_only=True)
class _Reader:
    """Reads each set of texts once with each model.

    Every method may raise :class:`_NotRead` or ``ProbeError``.
    """

    version: Version
    given: GivenTexts
    via: ReadsTexts | None
    _read: dict[tuple[str, bool], DocumentScores] = field(default_factory=dict)

    def training(self) -> DocumentScores:
        return self._own("training", self.given.training)

    def held_out(self, *, of_base: bool = False) -> DocumentScores:
        return self._own("held-out", self.given.held_out, of_base=of_base)

    def general(self, *, of_base: bool = False) -> DocumentScores:
        known = self._engine.corpora(self.version.adapter)
        corpus = next((one for one in known if one.role is CorpusRole.GENERAL), None)
        if corpus is None:
            raise _NotRead("no general corpus is configured")
        return self._once(corpus, of_base=of_base)

    def _own(self, name: str, texts: Sequence[str], *, of_base: bool = False) -> DocumentScores:
        if not texts:
            raise _NotRead("no training and held-out texts were given")
        documents = tuple(Document(id=str(number), text=text) for number, text in enumerate(texts))
        return self._once(Corpus(name=name, documents=documents), of_base=of_base)

    def _once(self, corpus: Corpus, *, of_base: bool) -> DocumentScores:
        key = corpus.id, of_base
        if key not in self._read:
            self._read[key] = self._scored(corpus, of_base=of_base)
        return self._read[key]

    def _scored(self, corpus: Corpus, *, of_base: bool) -> DocumentScores:
        asked = self._engine.base_of(self._target) if of_base else self._target
        if asked is None:
            raise _NotRead("no engine names the version's base model")
        run = self._engine.score(asked, corpus)
        if run.stopped is not None:
            raise _NotRead(f"the {corpus.name} texts were not all read: {run.stopped}")
        return DocumentScores(
            sum_nll=np.array([one.sum_nll for one in run.documents]),
            tokens=np.array([float(one.tokens) for one in run.documents]),
            size_bytes=np.array([float(one.bytes) for one in run.documents]),
        )

    @property
    def _engine(self) -> ReadsTexts:
        if self.via is None:
            raise _NotRead("nothing reads texts here: name engines in serving.engines")
        return self.via

    @property
    def _target(self) -> Target:
        return Target(model=self.version.model, folder=local_folder(self.version.uri or ""))
