"""Ask a base and its adapters on this machine, without importing torch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, assert_never

import msgspec
import numpy as np

from detectors.parity import Parity, TopLogprobs, pooled
from monitor.probes.asking import Made, Target
from monitor.probes.client import WorkerProcess
from monitor.probes.comparing import TOP
from monitor.probes.corpus import Corpus, Document
from monitor.probes.errors import (
    FolderRefused,
    FolderUnknown,
    ProbeError,
    ProbeFailed,
    TokenizersDiffer,
)
from monitor.probes.local import protocol
from monitor.probes.local.folders import (
    Fingerprints,
    FolderKind,
    combined,
    kind_of,
)
from monitor.probes.local.settings import LocalSettings
from monitor.probes.models import is_local
from monitor.probes.perplexity import DocumentScore, PerplexityRun
from monitor.probes.prompt_logprobs import PerplexitySource

TEXTS_PER_REQUEST: Final = 64
"""A worker that dies repeats at most this many texts."""
REMEMBERED_TARGETS: Final = 64

Answer = TypeVar("Answer", bound=msgspec.Struct)


class LocalProbe:
    """A probe of one base and its adapters; a :class:`monitor.probes.asking.ModelProbe`.

    Thread-safe. The worker starts at the first question and loads the base once; it starts again if
    it dies, or if the base's folder holds other weights. An adapter is identified by the hash of
    its folder, so a replaced one is loaded anew.

    Parameters
    ----------
    general
        The corpus of every adapter.
    domains
        Further corpora by adapter; ``domain`` is for all other adapters.
    """

    def __init__(
        self,
        settings: LocalSettings,
        general: Corpus,
        *,
        domains: Mapping[str, Corpus | None] | None = None,
        domain: Corpus | None = None,
    ) -> None:
        self._settings = settings
        self._general = general
        self._domains = dict(domains or {})
        self._domain = domain
        self._fingerprints = Fingerprints()
        self._lock = threading.Lock()
        self._asked: OrderedDict[Target, None] = OrderedDict()
        self._worker = WorkerProcess(
            protocol.OpenBase(
                model=settings.base,
                dtype=settings.dtype.value,
                device=settings.device.value,
                batch_tokens=settings.batch_tokens,
                loaded_adapters=settings.loaded_adapters,
                threads=settings.threads,
            ),
            protocol.LOCAL,
            start_timeout=settings.start_timeout.total_seconds(),
        )

    @property
    def base(self) -> Target:
        """The base model itself."""
        return Target(model=self._settings.base)

    @property
    def pid(self) -> int | None:
        """The worker's process; None while none runs."""
        return self._worker.pid

    def corpora(self, adapter: str) -> tuple[Corpus, ...]:
        """Return the general corpus, and the adapter's own if configured."""
        own = self._domains.get(adapter, self._domain)
        return (self._general,) if own is None else (self._general, own)

    def score(self, target: Target, corpus: Corpus) -> PerplexityRun:
        """Run once over a corpus; see :meth:`score_many`."""
        return self.score_many([target], corpus)[0]

    def score_many(self, targets: Sequence[Target], corpus: Corpus) -> tuple[PerplexityRun, ...]:
        """Score several models over one corpus, in one pass where that is faster.

        Every call computes anew: a second run that repeated stored numbers would confirm nothing. A
        caller with a run that :meth:`would_repeat` need not ask.

        Raises
        ------
        FolderUnknown, FolderRefused
            The first target that cannot be asked ends the call.
        ModelMissing
            The base cannot be loaded.
        ProbeFailed, ProbeTimeout
            No answer; a later call may succeed.
        """
        opened = self._opened()
        models = [self._model_of(target) for target in targets]
        weights = [_joint(model, opened.weights) for model in models]
        distinct = dict(zip(weights, models, strict=True))
        scored = self._measure(list(distinct.values()), corpus)
        found = {
            own: PerplexityRun(
                documents=documents,
                engine=opened.engine,
                dtype=opened.dtype,
                source=PerplexitySource.LOCAL,
                weights=own,
            )
            for own, documents in zip(distinct, scored, strict=True)
        }
        self._remember(targets)
        return tuple(found[own] for own in weights)

    def read(self, target: Target, texts: Sequence[str]) -> TopLogprobs:
        """Return the 20 likeliest tokens at each position of the texts; raises as scoring does."""
        self._opened()
        reply = self._ask(
            protocol.ReadTexts(model=self._model_of(target), texts=_sendable(texts), top=TOP),
            protocol.Expected,
            pairs=len(texts),
        )
        document = np.frombuffer(reply.document, dtype=np.int64)
        shape = (len(document), reply.top)
        return TopLogprobs(
            chosen=np.frombuffer(reply.chosen, dtype=np.float32).astype(np.float64),
            tokens=np.frombuffer(reply.tokens, dtype=np.int64).reshape(shape),
            logprobs=np.frombuffer(reply.logprobs, dtype=np.float32).reshape(shape).astype(float),
            document=document,
        )

    def parity(self, a: Path | None, b: Path | None, texts: Sequence[str]) -> Parity:
        """Compare two folders over their whole vocabulary; None means the base.

        A folder is an adapter on the base, or a whole model: merged, quantised, or other.

        Raises
        ------
        TokenizersDiffer
            The models split a text into different tokens.
        FolderRefused, ModelMissing, ProbeFailed, ProbeTimeout
            One of them cannot be asked.
        """
        return pooled(self.parities(a, b, texts))

    def parities(self, a: Path | None, b: Path | None, texts: Sequence[str]) -> tuple[Parity, ...]:
        """Compare text by text, as :meth:`parity` does; a text without tokens has 0 positions."""
        self._opened()
        request = protocol.Compare(a=self._side(a), b=self._side(b), texts=_sendable(texts))
        return self._ask(request, protocol.ComparedTexts, pairs=2 * len(texts), loads=True).parities

    def base_of(self, target: Target) -> Target | None:
        """Return the common base of all adapters here; None for the base itself."""
        return None if target == self.base else self.base

    def siblings_of(self, target: Target) -> tuple[Target, ...]:
        """Return other adapters scored here recently: they fit the same base."""
        with self._lock:
            known = tuple(self._asked)
        return tuple(other for other in known if other not in {target, self.base})

    def would_repeat(self, target: Target, run: Made) -> bool:
        """True if weights, arithmetic and libraries would be the same.

        It costs no forward pass, but loads the base to know its arithmetic.
        """
        if run.source != PerplexitySource.LOCAL or run.weights is None:
            return False
        if run.weights != self.weights_of(target):
            return False
        opened = self._opened()
        return (run.engine, run.dtype) == (opened.engine, opened.dtype)

    def weights_of(self, target: Target) -> str | None:
        """Hash the adapter's folder and its base's; None if the folder is unknown.

        A base from the hub must be loaded for this.
        """
        try:
            model = self._model_of(target)
        except FolderUnknown:
            return None
        return _joint(model, self._base_weights() or self._worker.opened().weights)

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _opened(self) -> protocol.BaseOpened:
        """Load the base that its folder holds now."""
        opened, wanted = self._worker.opened(), self._base_weights()
        if wanted in {None, opened.weights}:
            return opened
        self._worker.restart()
        opened = self._worker.opened()
        if opened.weights != self._base_weights():
            raise ProbeFailed(f"{self._settings.base} is being replaced", permanent=False)
        return opened

    def _base_weights(self) -> str | None:
        """Hash the base if its folder is known without asking a hub."""
        base = Path(self._settings.base).expanduser()
        known = is_local(self._settings.base) and base.is_dir()
        return self._fingerprints.of(base) if known else None

    def _model_of(self, target: Target) -> protocol.Base | protocol.HashedAdapter:
        if target == self.base:
            return protocol.Base()
        if target.folder is None:
            raise FolderUnknown(target.model)
        return self._adapter(target.folder)

    def _side(self, folder: Path | None) -> protocol.Model:
        if folder is None or folder.resolve() == Path(self._settings.base).expanduser().resolve():
            return protocol.Base()
        if kind_of(folder) is FolderKind.MODEL:
            return protocol.Whole(folder=str(folder.resolve()))
        return self._adapter(folder)

    def _adapter(self, folder: Path) -> protocol.HashedAdapter:
        if kind_of(folder) is not FolderKind.ADAPTER:
            raise FolderRefused(folder, "it holds a whole model, not an adapter")
        weights = self._fingerprints.of(folder)
        return protocol.HashedAdapter(folder=str(folder.resolve()), weights=weights)

    def _measure(
        self, models: list[protocol.Base | protocol.HashedAdapter], corpus: Corpus
    ) -> list[tuple[DocumentScore, ...]]:
        """Score documents, shortest first so that those of a request have similar lengths."""
        documents = sorted(corpus.documents, key=lambda document: len(document.text))
        found: list[dict[str, DocumentScore]] = [{} for _ in models]
        for begin in range(0, len(documents), TEXTS_PER_REQUEST):
            part = documents[begin : begin + TEXTS_PER_REQUEST]
            texts = _sendable([document.text for document in part])
            reply = self._ask(
                protocol.ScoreTexts(models=models, texts=texts),
                protocol.Scored,
                pairs=len(models) * len(part),
            )
            for own, row in zip(found, _rows(reply, len(models), part), strict=True):
                own.update(row)
        return [tuple(own[document.id] for document in corpus.documents) for own in found]

    def _ask(
        self, request: msgspec.Struct, wanted: type[Answer], *, pairs: int, loads: bool = False
    ) -> Answer:
        timeout = self._settings.timeout.total_seconds() * max(1, pairs)
        if loads:
            timeout += self._settings.start_timeout.total_seconds()
        reply = self._worker.ask(request, timeout=timeout)
        if isinstance(reply, protocol.FolderProblem):
            raise _refusal(reply)
        if not isinstance(reply, wanted):
            raise ProbeFailed("the worker answered out of turn", permanent=False)
        return reply

    def _remember(self, targets: Sequence[Target]) -> None:
        with self._lock:
            for target in targets:
                self._asked[target] = None
                self._asked.move_to_end(target)
            while len(self._asked) > REMEMBERED_TARGETS:
                self._asked.popitem(last=False)


def _joint(model: protocol.Base | protocol.HashedAdapter, base: str) -> str:
    """Hash all weights that compute: an adapter's result depends on its base."""
    if isinstance(model, protocol.Base):
        return base
    return combined({"base": base, "adapter": model.weights})


def _rows(
    reply: protocol.Scored, models: int, documents: Sequence[Document]
) -> list[dict[str, DocumentScore]]:
    shape = (models, len(documents))
    sums = np.frombuffer(reply.sums, dtype=np.float64).reshape(shape)
    tokens = np.frombuffer(reply.tokens, dtype=np.int64).reshape(shape)
    odd = np.frombuffer(reply.non_finite, dtype=np.int64).reshape(shape)
    return [
        {
            document.id: DocumentScore(
                document=document.id,
                sum_nll=float(sums[row, column]),
                tokens=int(tokens[row, column]),
                bytes=len(document.text.encode("utf-8", "replace")),
                non_finite=int(odd[row, column]),
            )
            for column, document in enumerate(documents)
        }
        for row in range(models)
    ]


def _refusal(reply: protocol.FolderProblem) -> ProbeError:
    match reply.cause:
        case protocol.UnaskedCause.FOLDER:
            return FolderRefused(Path(reply.folder), reply.reason)
        case protocol.UnaskedCause.TOKENIZERS:
            return TokenizersDiffer(reply.reason)
        case _:
            assert_never(reply.cause)


def _sendable(texts: Sequence[str]) -> list[str]:
    # a lone surrogate is not text: it cannot be sent, and no tokenizer knows it
    return [text.encode("utf-8", "replace").decode() for text in texts]
