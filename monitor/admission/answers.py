"""Check by the served model what it has learned: by heart, too well, at all, at which cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from detectors.checks import Check, CheckVerdict
from detectors.effect import EARLIER, EFFECT, GENERAL, earlier_check, effect_check, general_check
from detectors.forgetting import (
    FORGETTING,
    GUESSING,
    TASKS,
    Bools,
    PairedAnswers,
    forgetting_check,
    guesses,
)
from detectors.gap import FEWEST, gap_check
from detectors.memorised import (
    LENGTHS,
    MEMORISED,
    PLANTED,
    Repeated,
    known_to_base,
    memorised_check,
    planted_check,
    repeated,
)
from detectors.neighbours import NEIGHBOURS, OtherModel, neighbours_check
from detectors.parity import (
    PARITY,
    Limits,
    Parity,
    TopLogprobs,
    by_document,
    compare,
    parity_check,
    pooled,
)
from detectors.perplexity import DocumentScores
from monitor.admission.choices import Question, log_likelihoods, right
from monitor.admission.settings import AdmissionSettings
from monitor.admission.suite import general_questions
from monitor.domain import Version
from monitor.probes import inputs
from monitor.probes.asking import ModelProbe, Target, local_folder
from monitor.probes.comparing import Reads, read_all
from monitor.probes.corpus import Corpus, CorpusRole, Document
from monitor.probes.errors import ProbeError
from monitor.probes.inputs import GivenText
from monitor.probes.serving import ServedProbe

GAP: Final = "gap"
COMPARED_TEXTS: Final = 100
TEXTS_AMIDST: Final = 20
MOST_NEIGHBOURS: Final = 2
"""Other adapters that are asked beside it."""
FIRST: Final = 4
"""One general question in so many is asked first."""
_NO_TEXTS: Final = "no training and held-out texts were given"


class GivenTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that came with the request; they are forgotten once the report is written.

    ``earlier`` are of the parent's training and not of its own. ``same_as`` names the version whose
    build it is another of.
    """

    training: Sequence[GivenText] = ()
    held_out: Sequence[GivenText] = ()
    earlier: Sequence[GivenText] = ()
    planted: Sequence[str] = ()
    same_as: str | None = None
    questions: Sequence[Question] = ()


def check_answers(
    version: Version,
    given: GivenTexts,
    settings: AdmissionSettings,
    *,
    via: ModelProbe | None,
    parent: Version | None = None,
    like: Version | None = None,
    questions: Sequence[Question] = general_questions(),
    alive: Callable[[], None] = lambda: None,
) -> Iterator[Check]:
    """Let the served version and its base read texts, and judge the differences, one by one.

    ``parent`` must not know earlier texts much better; ``like`` is the version that it must answer
    as; ``alive`` is called again and again, and may raise. Each check is skipped by itself where
    its texts, the engine or the base are missing. Texts whose NLL two checks need are scored once.
    """
    reader = _Reader(version=version, given=given, via=via, parent=parent, alive=alive)
    limits = settings.effect
    checks: Mapping[str, Callable[[], Check]] = {
        GAP: lambda: gap_check(reader.training(), reader.held_out(), settings.gap),
        EFFECT: lambda: effect_check(reader.held_out(of_base=True), reader.held_out(), limits),
        GENERAL: lambda: general_check(reader.general(of_base=True), reader.general(), limits),
        EARLIER: lambda: earlier_check(reader.earlier(of_parent=True), reader.earlier(), limits),
        MEMORISED: lambda: memorised_check(
            reader.repeated(given.training), reader.repeated(given.held_out), settings.memorised
        ),
        PLANTED: lambda: planted_check(
            reader.repeated(given.planted, "no planted texts were given")
        ),
        PARITY: lambda: parity_check(
            reader.beside(like), settings.parity, like=like.label if like else ""
        ),
        NEIGHBOURS: lambda: reader.neighbours(settings.parity),
        # these take most of the engine's time, so that no other check goes short of it
        TASKS: lambda: forgetting_check(
            reader.answered(given.questions), settings.forgetting, name=TASKS
        ),
        FORGETTING: lambda: forgetting_check(reader.answered(questions), settings.forgetting),
    }
    for name, check in checks.items():
        alive()
        try:
            yield check()
        except (_NotRead, ProbeError) as reason:
            yield Check(name=name, verdict=CheckVerdict.SKIPPED, reason=str(reason))


class _NotRead(Exception):  # noqa: N818 (it says what happened)
    """Texts, engine or base are missing, or the engine had others to serve."""


@dataclass(kw_only=True)
class _Reader:
    """Lets version and base read texts; each set is scored once by each model.

    Every method may raise :class:`_NotRead` or ``ProbeError``.
    """

    version: Version
    given: GivenTexts
    via: ModelProbe | None
    parent: Version | None
    alive: Callable[[], None]
    _read: dict[tuple[str, str], DocumentScores] = field(default_factory=dict)

    def training(self) -> DocumentScores:
        return self._own("training", self.given.training)

    def held_out(self, *, of_base: bool = False) -> DocumentScores:
        return self._own("held-out", self.given.held_out, of_base=of_base)

    def general(self, *, of_base: bool = False) -> DocumentScores:
        return self._once(self._general(), self._asked(of_base=of_base))

    def earlier(self, *, of_parent: bool = False) -> DocumentScores:
        """Return what texts of earlier training cost the version, or its parent."""
        texts = self.given.earlier
        if not texts:
            raise _NotRead("no texts of earlier training were given")
        if not of_parent:
            return self._once(_corpus("earlier", texts), self._target)
        if self.parent is None:
            raise _NotRead("it is registered without a parent")
        return self._once(_corpus("earlier", texts), _target(self.parent))

    def _general(self) -> Corpus:
        known = self._engine.corpora(self.version.adapter)
        corpus = next((one for one in known if one.role is CorpusRole.GENERAL), None)
        if corpus is None:
            raise _NotRead("no general corpus is configured")
        return corpus

    def answered(self, questions: Sequence[Question]) -> PairedAnswers:
        """Return which general questions base and version answer right, of those that both can.

        A base that only guesses has nothing to forget, so the version is not asked; nor is the base
        asked more where it answers a first quarter no better than chance.
        """
        if not questions:
            raise _NotRead("no questions were given")
        chance = sum(1 / len(one.choices) for one in questions) / len(questions)
        asked = list(questions[::FIRST])
        base = self._right(asked, of_base=True)
        if not guesses(_known(base), chance - GUESSING):
            others = [one for number, one in enumerate(questions) if number % FIRST]
            asked += others
            base += self._right(others, of_base=True)
        own = base if guesses(_known(base), chance) else self._right(asked)
        both = [
            (one.kind, right_by_base, right_by_version)
            for one, right_by_base, right_by_version in zip(asked, base, own, strict=True)
            if right_by_base is not None and right_by_version is not None
        ]
        return PairedAnswers(
            kinds=tuple(kind for kind, _, _ in both),
            base=np.array([one for _, one, _ in both], dtype=np.bool_),
            adapter=np.array([one for _, _, one in both], dtype=np.bool_),
            chance=chance,
        )

    def beside(self, like: Version | None) -> Parity:
        """Compare with another version, on held-out texts, or on general ones."""
        if like is None:
            named = self.given.same_as
            raise _NotRead(f"{named!r} is gone" if named else "no version was named to agree with")
        texts = [_text(one) for one in self.given.held_out]
        if len(texts) < FEWEST:
            texts = [one.text for one in inputs.general(self._general(), COMPARED_TEXTS)]
        other = _target(like)
        texts = texts[:COMPARED_TEXTS]
        try:
            found = compare(self._all(other, texts), self._all(self._target, texts))
        except ValueError as error:
            raise _NotRead(f"they cannot be compared: {error}") from None
        if found.positions == 0:
            raise _NotRead("the engine read none of the texts")
        return found

    def neighbours(self, limits: Limits) -> Check:
        """Compare with itself beside other adapters, with these, and with its base."""
        engine = self._engine
        if not isinstance(engine, ServedProbe):
            raise _NotRead("models on this machine answer nobody else")
        found = engine.at_one(self._target, self._engine.siblings_of(self._target))
        if found is None:
            raise _NotRead("no engine serves another adapter of its base beside it")
        at_one, siblings = found[0], found[1][:MOST_NEIGHBOURS]
        base = self._engine.base_of(self._target)
        others = [*siblings, *([base] if base else [])]
        texts = [one.text for one in inputs.general(self._general(), TEXTS_AMIDST)]
        alone = self._all(self._target, texts, by=at_one)
        amidst = at_one.amidst(siblings).read(self._target, texts)
        try:
            beside = compare(alone, amidst)
            distances = [
                OtherModel(
                    model=one.model,
                    distance=_distance(alone, self._all(one, texts, by=at_one)),
                    base=one == base,
                )
                for one in others
            ]
        except ValueError as error:
            raise _NotRead(f"they cannot be compared: {error}") from None
        if beside.positions == 0:
            raise _NotRead("the engine read none of the texts")
        return neighbours_check(beside, distances, limits, among=[one.model for one in siblings])

    def _right(self, questions: Sequence[Question], *, of_base: bool = False) -> list[bool | None]:
        if not questions:
            return []
        asked = self._asked(of_base=of_base)
        found = log_likelihoods(questions, lambda texts: self._all(asked, texts))
        return [right(values) for values in found]

    def repeated(self, given: Sequence[GivenText], absent: str = _NO_TEXTS) -> Repeated:
        """Return how far the version repeats texts, and its base those that the version does."""
        if not given:
            raise _NotRead(absent)
        texts = [_text(one) for one in given]
        found = repeated(self._all(self._target, texts), len(texts))
        suspects = [
            place
            for place, (run, room) in enumerate(zip(found.run, found.room, strict=True))
            if room and run >= min(room, LENGTHS[0])
        ]
        base = self._engine.base_of(self._target)
        if base is None or not suspects:
            return found
        read = self._all(base, [texts[place] for place in suspects])
        return known_to_base(found, suspects, repeated(read, len(suspects)))

    def _all(self, target: Target, texts: Sequence[str], *, by: Reads | None = None) -> TopLogprobs:
        return read_all(by or self._engine, target, texts, tick=lambda _: self.alive())

    def _own(
        self, name: str, texts: Sequence[GivenText], *, of_base: bool = False
    ) -> DocumentScores:
        if not texts:
            raise _NotRead(_NO_TEXTS)
        return self._once(_corpus(name, texts), self._asked(of_base=of_base))

    def _once(self, corpus: Corpus, target: Target) -> DocumentScores:
        self.alive()
        key = corpus.id, target.model
        if key not in self._read:
            self._read[key] = self._scored(corpus, target)
        return self._read[key]

    def _scored(self, corpus: Corpus, target: Target) -> DocumentScores:
        run = self._engine.score(target, corpus)
        if run.stopped is not None:
            raise _NotRead(f"the {corpus.name} texts were not all read: {run.stopped}")
        return DocumentScores(
            sum_nll=np.array([np.nan if one.beside else one.sum_nll for one in run.documents]),
            tokens=np.array([float(one.tokens) for one in run.documents]),
            size_bytes=np.array([float(one.bytes) for one in run.documents]),
        )

    def _asked(self, *, of_base: bool) -> Target:
        asked = self._engine.base_of(self._target) if of_base else self._target
        if asked is None:
            raise _NotRead("no engine names the version's base model")
        return asked

    @property
    def _engine(self) -> ModelProbe:
        if self.via is None:
            raise _NotRead("nothing reads texts here: name engines in serving.engines")
        return self.via

    @property
    def _target(self) -> Target:
        return _target(self.version)


def _known(answers: Sequence[bool | None]) -> Bools:
    return np.array([one for one in answers if one is not None], dtype=np.bool_)


def _distance(own: TopLogprobs, other: TopLogprobs) -> Parity:
    """Compare the texts that a base did not read beside an adapter's requests."""
    each = by_document(own, other)
    return pooled(parity for text, parity in each.items() if text not in other.beside)


def _text(one: GivenText) -> str:
    return one if isinstance(one, str) else one.text


def _answer_at(one: GivenText) -> int:
    return 0 if isinstance(one, str) else one.answer_at


def _target(version: Version) -> Target:
    return Target(model=version.model, folder=local_folder(version.uri or ""))


def _corpus(name: str, texts: Sequence[GivenText]) -> Corpus:
    documents = tuple(
        Document(id=str(number), text=_text(one), answer_at=_answer_at(one))
        for number, one in enumerate(texts)
    )
    return Corpus(name=name, documents=documents)
