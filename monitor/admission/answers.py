"""Check by the served model whether it knows its training texts too well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from detectors.checks import Check, CheckVerdict
from detectors.gap import GapLimits, gap_check
from detectors.perplexity import DocumentScores
from monitor.domain import Version
from monitor.probes.asking import Target, local_folder
from monitor.probes.corpus import Corpus, Document
from monitor.probes.errors import ProbeError
from monitor.probes.perplexity import PerplexityRun

GAP: Final = "gap"


class GivenTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that came with the request; they are forgotten once the report is written."""

    training: list[str] = []
    held_out: list[str] = []


class ScoresCorpus(Protocol):
    """The part of :class:`monitor.probes.asking.ModelProbe` that is needed here."""

    def score(self, target: Target, corpus: Corpus) -> PerplexityRun: ...


def check_gap(
    version: Version, given: GivenTexts, limits: GapLimits, *, via: ScoresCorpus | None
) -> Check:
    """Let the served version read both sets, and judge the difference; skipped without them."""
    if not given.training or not given.held_out:
        return _skipped("no training and held-out texts were given")
    if via is None:
        return _skipped("nothing reads texts here: name engines in serving.engines")
    target = Target(model=version.model, folder=local_folder(version.uri or ""))
    try:
        training = _read(via, target, "training", given.training)
        held_out = _read(via, target, "held-out", given.held_out)
    except ProbeError as error:
        return _skipped(str(error))
    except _Stopped as stopped:
        return _skipped(str(stopped))
    return gap_check(training, held_out, limits)


class _Stopped(Exception):  # noqa: N818 (it says what happened)
    """The engine had others to serve, or could not read the texts."""


def _read(via: ScoresCorpus, target: Target, name: str, texts: Sequence[str]) -> DocumentScores:
    documents = tuple(Document(id=str(number), text=text) for number, text in enumerate(texts))
    run = via.score(target, Corpus(name=name, documents=documents))
    if run.stopped is not None:
        raise _Stopped(f"the {name} texts were not all read: {run.stopped}")
    return DocumentScores(
        sum_nll=np.array([one.sum_nll for one in run.documents]),
        tokens=np.array([float(one.tokens) for one in run.documents]),
        size_bytes=np.array([float(one.bytes) for one in run.documents]),
    )


def _skipped(reason: str) -> Check:
    return Check(name=GAP, verdict=CheckVerdict.SKIPPED, reason=reason)
