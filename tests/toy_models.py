"""Models as tables: what each of them finds of every document follows from its weights' name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.parity import TopLogprobs
from monitor.probes.asking import Made, Target
from monitor.probes.corpus import Corpus, CorpusRole, Document
from monitor.probes.errors import ModelNotServed, ProbeFailed
from monitor.probes.perplexity import DocumentScore, PerplexityRun
from monitor.probes.prompt_logprobs import PerplexitySource

TOKENS = 100
GENERAL = Corpus(
    name="general",
    documents=tuple(Document(id=f"g{i}", text=f"general text {i} " * 20) for i in range(40)),
)
DOMAIN = Corpus(
    name="support",
    documents=tuple(Document(id=f"d{i}", text=f"question {i} " * 20) for i in range(30)),
    role=CorpusRole.DOMAIN,
)


def unit(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@dataclass
class Toys:
    """Served models. ``weights`` says which weights answer under each name.

    ``expects`` gives a name the expectations of other weights. ``shift`` moves what a name says
    of a corpus ("" for every corpus), in nats per token; ``engine_shift`` moves everything;
    ``parents`` gives each adapter's base; ``allowed`` is how many more runs the engine has time
    for (None: any number); ``lost_documents`` is how many of the last documents a name cannot
    score; ``mixed`` gives a name the weights that compute so many of its first documents;
    ``unsteady`` is how many of a name's first documents it answers otherwise each time; ``beside``
    are names that are read beside other requests.
    """

    weights: dict[str, str]
    expects: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    texts: tuple[Corpus, ...] = (GENERAL,)
    shift: dict[tuple[str, str], float] = field(default_factory=dict)
    engine_shift: float = 0.0
    engine: str = "toy 1"
    dtype: str = "float32"
    source: PerplexitySource = PerplexitySource.ECHO
    hashes: bool = False
    allowed: int | None = None
    stops: dict[str, str] = field(default_factory=dict)
    lost_documents: dict[str, int] = field(default_factory=dict)
    mixed: dict[str, tuple[str, int]] = field(default_factory=dict)
    unsteady: dict[str, int] = field(default_factory=dict)
    beside: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def corpora(self, adapter: str) -> tuple[Corpus, ...]:
        del adapter
        return self.texts

    def score(self, target: Target, corpus: Corpus) -> PerplexityRun:
        return self._run(target, corpus, replica=None)

    def read(self, target: Target, texts: Sequence[str]) -> TopLogprobs:
        return self._read(target, texts, replica=None)

    def _read(self, target: Target, texts: Sequence[str], *, replica: str | None) -> TopLogprobs:
        weights = self.expects.get(target.model) or self._weights(target, replica)
        best = np.array([[0.5 + 0.4 * unit(weights, text, k) for k in range(5)] for text in texts])
        logprobs = np.log(np.stack([best.ravel(), 1 - best.ravel()], axis=1))
        return TopLogprobs(
            chosen=logprobs[:, 0],
            tokens=np.tile(np.array([1, 2]), (best.size, 1)),
            logprobs=logprobs,
            document=np.repeat(np.arange(len(texts)), 5),
        )

    def base_of(self, target: Target) -> Target | None:
        parent = self.parents.get(target.model)
        return None if parent is None else Target(model=parent)

    def siblings_of(self, target: Target) -> tuple[Target, ...]:
        parent = self.parents.get(target.model)
        names = [n for n, p in self.parents.items() if p == parent and n != target.model]
        return tuple(Target(model=name) for name in names)

    def would_repeat(self, target: Target, run: Made) -> bool:
        now = (self.engine, self.dtype, self._hash(target))
        return self.hashes and (run.engine, run.dtype, run.weights) == now

    def _hash(self, target: Target) -> str | None:
        return f"hash of {self._weights(target)}" if self.hashes else None

    def _run(self, target: Target, corpus: Corpus, *, replica: str | None) -> PerplexityRun:
        if self.allowed is not None:
            if self.allowed == 0:
                raise ProbeFailed("probes have had their share", permanent=False, asked=False)
            self.allowed -= 1
        self.asked.append((target.model, corpus.name, len(corpus.documents)))
        moved = self.engine_shift + self._shift(target.model, corpus.name, replica)
        weights = self._weights(target, replica)
        other, lent = self.mixed.get(target.model, (weights, 0))
        if target.model in self.unsteady:
            other, lent = f"reading {len(self.asked)}", self.unsteady[target.model]
        scored = len(corpus.documents) - self.lost_documents.get(target.model, 0)
        documents = tuple(
            DocumentScore(
                document=document.id,
                sum_nll=np.nan
                if i >= scored
                else TOKENS * _level(other, document.id)
                if i < lent
                else TOKENS * (_level(weights, document.id) + moved),
                tokens=TOKENS if i < scored else 0,
                bytes=len(document.text),
                beside=target.model in self.beside,
            )
            for i, document in enumerate(corpus.documents)
        )
        stopped = self.stops.get(target.model)
        return PerplexityRun(
            documents=documents if stopped is None else documents[:3],
            engine=self.engine,
            stopped=stopped,
            replica=replica,
            source=self.source,
            dtype=self.dtype,
            weights=self._hash(target),
        )

    def _shift(self, model: str, corpus: str, replica: str | None) -> float:
        del replica
        return self.shift.get((model, corpus), 0.0) + self.shift.get((model, ""), 0.0)

    def _weights(self, target: Target, replica: str | None = None) -> str:
        del replica
        if target.model not in self.weights:
            raise ModelNotServed(target.model, served=tuple(self.weights))
        return self.weights[target.model]


@dataclass
class ReplicatedToys(Toys):
    """The same models on several engines, asked in turn.

    ``broken`` engines move what they say; ``lost`` names the adapter that one forgot.
    """

    replicas: tuple[str, ...] = ("http://one", "http://two")
    broken: dict[str, float] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    turn: int = 0

    def replicas_of(self, target: Target) -> tuple[str, ...]:
        return self.replicas if target.model in self.weights else ()

    def score(self, target: Target, corpus: Corpus, *, replica: str | None = None) -> PerplexityRun:
        if replica is None:
            replica = self.replicas[self.turn % len(self.replicas)]
            self.turn += 1
        return self._run(target, corpus, replica=replica)

    def read(
        self, target: Target, texts: Sequence[str], *, replica: str | None = None
    ) -> TopLogprobs:
        return self._read(target, texts, replica=replica)

    def _weights(self, target: Target, replica: str | None = None) -> str:
        lost = replica is not None and self.lost.get(replica) == target.model
        return "base" if lost else super()._weights(target)

    def _shift(self, model: str, corpus: str, replica: str | None) -> float:
        return super()._shift(model, corpus, replica) + self.broken.get(replica or "", 0.0)


def _level(weights: str, document: str) -> float:
    """Around 2.5 nats per token for a base; an adapter moves each document by up to .5."""
    level = 2.0 + unit("text", document)
    return level if weights == "base" else level - 0.5 * unit(weights, document)
