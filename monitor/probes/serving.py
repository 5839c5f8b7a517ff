"""Ask models through the engines that serve them."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from detectors.parity import TopLogprobs
from monitor.probes.asking import Made, Target
from monitor.probes.comparing import TOP, as_top_logprobs
from monitor.probes.corpus import Corpus, Document
from monitor.probes.engine import NoNumbers, OtherRequests, ProbedEngine, Stop
from monitor.probes.engines import Engines, Replica
from monitor.probes.errors import FolderRefused, ProbeFailed
from monitor.probes.local.folders import Fingerprints
from monitor.probes.own_tokens import answer_span, number_fault
from monitor.probes.perplexity import (
    TOLD,
    DocumentScore,
    Http,
    PerplexityRun,
    PerplexitySettings,
)
from monitor.probes.prompt_logprobs import PromptTokens, total
from monitor.probes.share import Purpose

__all__ = ["Engines", "ServedProbe"]

_TEXTS_PER_LOOK: Final = 16


def _never() -> str | None:
    return None


_Ask = Callable[[str], PromptTokens | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedProbe:
    """A probe of served models: one text at a time, one probe per engine.

    general
        The corpus of every adapter.
    domains
        Further corpora by adapter; ``domain`` is for all other adapters.
    http
        A guarded client that may read :data:`monitor.probes.perplexity.LARGEST_ANSWER`.
    purpose
        Why the engines are asked, which decides which purse pays.
    gives_way
        Called before each text of a run: returns why the run should stop, or None.
    beside
        True if the engine is given other requests during a run.
    among
        Adapters of whose requests some run while texts are read.
    place
        Address of the engine that reads texts; None takes them in turns.
    """

    general: Corpus
    engines: Engines
    http: Http
    settings: PerplexitySettings
    domains: Mapping[str, Corpus | None] = field(default_factory=dict)
    domain: Corpus | None = None
    purpose: Purpose = Purpose.ROUTINE
    gives_way: Callable[[], str | None] = _never
    beside: bool = False
    among: Sequence[Target] = ()
    place: str | None = None
    fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def on(self, purpose: Purpose, *, gives_way: Callable[[], str | None] = _never) -> ServedProbe:
        """Return the same probe with another purpose."""
        return replace(self, purpose=purpose, gives_way=gives_way)

    def crowded(self) -> ServedProbe:
        """Return the same probe beside other requests, whose effect on the numbers is noise."""
        return replace(self, beside=True)

    def amidst(self, others: Sequence[Target]) -> ServedProbe:
        """Return the same probe, reading texts while other adapters answer requests."""
        return replace(self, among=others)

    def at_one(
        self, target: Target, others: Sequence[Target]
    ) -> tuple[ServedProbe, list[Target]] | None:
        """Return the same probe at one engine that holds the model, and the others that it holds.

        None: no engine holds any of them beside it. Raises as :meth:`read` does.
        """
        places = {one: self.replicas_of(one) for one in others}
        for name in self.replicas_of(target):
            if held := [one for one in others if name in places[one]]:
                return replace(self, place=name), held
        return None

    def corpora(self, adapter: str) -> tuple[Corpus, ...]:
        """Return the general corpus, and the adapter's own if configured."""
        own = self.domains.get(adapter, self.domain)
        return (self.general,) if own is None else (self.general, own)

    def score(self, target: Target, corpus: Corpus, *, replica: str | None = None) -> PerplexityRun:
        """Run once over a corpus.

        Parameters
        ----------
        replica
            Address of the engine to ask, as a run or :meth:`replicas_of` names it; None takes them
            in turn.

        Returns
        -------
        PerplexityRun
            ``stopped`` is None only if every document was asked, and the weights were not replaced
            meanwhile.

        Raises
        ------
        ModelNotServed
            Engines answer but do not list the model; nothing was asked.
        ProbeFailed
            No engine answers or may be asked now.
        """
        with self._turn(target, replica) as (chosen, engine), ExitStack() as others:
            (name, dtype), weights = engine.about(), self._weights(target, chosen)
            ask = self._asking(chosen, engine)
            run = PerplexityRun(
                documents=(), engine=name, dtype=dtype, replica=chosen.name, weights=weights
            )
            for number, document in enumerate(corpus.documents):
                try:
                    self._look(engine, number)
                    score = _score(ask, document, first=engine.way is None)
                except Stop as stop:
                    return replace(
                        run,
                        stopped=f"{stop} (after {number} documents)",
                        numberless=isinstance(stop, NoNumbers),
                    )
                if self.beside and number == 0:
                    others.enter_context(engine.others([one.text for one in corpus.documents]))
                run = replace(
                    run,
                    documents=(*run.documents, score),
                    source=engine.way,
                    seconds=engine.spent,
                )
            if self._weights(target, chosen) != weights:
                return replace(run, stopped="the weights were replaced while they were measured")
            return run

    def read(
        self, target: Target, texts: Sequence[str], *, replica: str | None = None
    ) -> TopLogprobs:
        """Return the 20 likeliest tokens at each position of the texts, from one engine.

        A text too long for the model has no tokens. Engines that only echo identify tokens by their
        text, so tokens that look alike count as one.

        Raises
        ------
        ModelNotServed, ProbeFailed
            The engine could not be asked about all texts, or about none of the other adapters.
        """
        made: OtherRequests | None = None
        with self._turn(target, replica or self.place) as (chosen, engine), ExitStack() as others:
            ask = self._asking(chosen, engine, top=TOP)
            answers = []
            # the first text finds the way of asking; beside others it is read again
            for number, text in enumerate([*texts[:1], *texts] if self.among else texts):
                try:
                    if number % _TEXTS_PER_LOOK == 0 and made is None:
                        engine.require_idle()
                    answers.append(ask(text))
                except Stop as stop:
                    reason = f"{stop} (after {number} texts)"
                    raise ProbeFailed(reason, permanent=False) from stop
                if self.among and made is None:
                    of = [one.model for one in self.among]
                    made = others.enter_context(engine.others(texts, of=of))
        if made is not None and (silent := made.silent):
            reason = f"{len(silent)} of {len(self.among)} other adapters did not answer meanwhile"
            raise ProbeFailed(reason, permanent=False)
        return as_top_logprobs(answers[1:] if self.among else answers)

    def base_of(self, target: Target) -> Target | None:
        """Return the served model that an engine names as this adapter's parent."""
        base = self.engines.base_of(target.model)
        return None if base is None else Target(model=base)

    def siblings_of(self, target: Target) -> tuple[Target, ...]:
        """Return other adapters with the same parent, loaded ones first."""
        return tuple(Target(model=model) for model in self.engines.siblings_of(target.model))

    def would_repeat(self, target: Target, run: Made) -> bool:  # noqa: ARG002 - of the protocol
        """Always False: an engine may have been restarted with anything."""
        return False

    def replicas_of(self, target: Target) -> tuple[str, ...]:
        """Return the addresses of engines that hold the model; raises as :meth:`score` does."""
        return tuple(one.name for one in self.engines.holding(target.model))

    def _weights(self, target: Target, replica: Replica) -> str | None:
        """Hash the adapter that the engine serves, as far as it tells.

        The hash is that of the version's own files if the engine loaded them, else of the location
        that it names: no other path named by an engine is read.
        """
        root = None if replica.parent is None else self.engines.root_of(target.model, replica)
        if root is None:
            return None
        if target.folder is not None and Path(root) == target.folder:
            with suppress(FolderRefused):
                return TOLD + self.fingerprints.of(target.folder)
        return TOLD + hashlib.sha256(f"root\0{root}".encode()).hexdigest()

    def _look(self, engine: ProbedEngine, number: int) -> None:
        """Stop if something more urgent waits, or the engine has others to serve."""
        if (why := self.gives_way()) is not None:
            raise Stop(why)
        own = self.beside and number > 0
        if number % _TEXTS_PER_LOOK == 0 and not own:
            engine.require_idle()

    def _asking(self, chosen: Replica, engine: ProbedEngine, *, top: int = 0) -> _Ask:
        """Ask an adapter at any time, but a base model alone if possible."""
        if chosen.parent is not None:
            return partial(engine.ask, top=top)
        until = time.monotonic() + self.settings.quiet.total_seconds()
        return partial(engine.ask_alone, top=top, until=until)

    @contextmanager
    def _turn(self, target: Target, replica: str | None) -> Iterator[tuple[Replica, ProbedEngine]]:
        chosen = self.engines.choose(target.model, replica=replica, purpose=self.purpose)
        with self.engines.restraint.of(chosen.url).turn(self.purpose) as turn:
            yield (
                chosen,
                ProbedEngine(
                    chosen,
                    model=target.model,
                    http=self.http,
                    settings=self.settings,
                    turn=turn,
                ),
            )


def _score(ask: _Ask, document: Document, *, first: bool) -> DocumentScore:
    """Score one document; a turn's first result must also be a plausible likelihood."""
    size = len(document.text.encode())
    tokens = ask(document.text)
    if tokens is None:
        return DocumentScore(document=document.id, sum_nll=math.nan, tokens=0, bytes=size)
    score = total(tokens)
    if first and (fault := number_fault(score)) is not None:
        stop = NoNumbers if score.tokens == 0 else Stop
        raise stop(f"the engine's numbers are not those of a text: {fault}")
    if document.answer_at:
        own = answer_span(tokens.shown, document.text, document.answer_at)
        score = total(replace(tokens, logprobs=tokens.logprobs[own]))
    return DocumentScore(
        document=document.id,
        sum_nll=score.sum_nll,
        tokens=score.tokens,
        bytes=size,
        non_finite=score.non_finite,
        beside=tokens.beside,
    )
