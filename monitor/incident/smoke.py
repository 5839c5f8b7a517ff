"""Ask the incident's version and related models an adapter's own smoke prompts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Version
from monitor.incident.reading import IncidentStory
from monitor.probes.corpus import Document
from monitor.probes.smoke import MOST_PROMPTS, Questioner, SmokeAnswer
from monitor.store import audit

PATIENCE: Final = timedelta(seconds=60)
"""For all prompts and models together, because a person waits."""


class ModelRole(StrEnum):
    """The model that answers."""

    CURRENT = "current"
    PREVIOUS = "previous"
    BASE = "base"


class NotAskable(LookupError):  # noqa: N818 - it is a fact about the incident, not a fault
    """The smoke test cannot run now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModel:
    """A model to ask: ``name`` is for people, ``model`` for engines."""

    role: ModelRole
    name: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedAnswers:
    """One prompt and each model's answer, in the order of the models."""

    prompt: Document
    answers: Sequence[tuple[ComparedModel, SmokeAnswer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeTest:
    """Asks at most ten prompts, and runs one smoke test at a time.

    questioner
        None if no engine is configured.
    prompts
        By adapter; ``default`` is for all other adapters.
    """

    questioner: Questioner | None = None
    prompts: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    default: Sequence[Document] = ()
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def prompts_of(self, adapter: str) -> Sequence[Document]:
        """Return an adapter's prompts; empty if none are configured."""
        return self.prompts.get(adapter, self.default)[:MOST_PROMPTS]

    def ask(self, story: IncidentStory) -> Sequence[ComparedAnswers]:
        """Ask the incident's version, the one before it and their base; takes up to a minute.

        No transaction may be open meanwhile. Nothing is stored or logged.

        Raises
        ------
        NotAskable
            A fleet incident, no prompts, no engine, or another smoke test is running.
        """
        if story.version is None:
            raise NotAskable("A fleet incident has no smoke prompts of its own.")
        prompts = self.prompts_of(story.version.adapter)
        if not prompts:
            raise NotAskable(
                f"{story.version.adapter} has no smoke prompts: name a file of them"
                f" as adapters.{story.version.adapter}.smoke_prompts in the config."
            )
        if self.questioner is None:
            raise NotAskable("No engine is configured in serving.engines.")
        with self._alone():
            return _exchanges(self.questioner, _whom(self.questioner, story), prompts)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._turn.acquire(blocking=False):
            raise NotAskable("Another smoke test goes on; try again in a minute.")
        try:
            yield
        finally:
            self._turn.release()


def note_asked(tx: Connection, story: IncidentStory, *, by: str) -> None:
    """Write down who asked, without prompts or answers."""
    audit.append(tx, actor=by, act="incident.ask", subject=f"incident {story.row.id}")


def _exchanges(
    questioner: Questioner, whom: Sequence[ComparedModel], prompts: Sequence[Document]
) -> list[ComparedAnswers]:
    until = time.monotonic() + PATIENCE.total_seconds()
    with ThreadPoolExecutor(max_workers=len(whom), thread_name_prefix="smoke") as pool:
        said = list(pool.map(lambda one: questioner.answers(one.model, prompts, until=until), whom))
    return [
        ComparedAnswers(prompt=prompt, answers=list(zip(whom, answers, strict=True)))
        for prompt, answers in zip(prompts, zip(*said, strict=True), strict=True)
    ]


def _whom(questioner: Questioner, story: IncidentStory) -> list[ComparedModel]:
    version = story.version
    if version is None:
        return []
    found = [ComparedModel(role=ModelRole.CURRENT, name=version.label, model=version.model)]
    previous = previous_of(version, story.versions)
    if previous is not None:
        found.append(
            ComparedModel(role=ModelRole.PREVIOUS, name=previous.label, model=previous.model)
        )
    base = questioner.engines.base_of(version.model) or version.base_model
    if base:
        found.append(ComparedModel(role=ModelRole.BASE, name=base, model=base))
    return found


def previous_of(version: Version, registered: Sequence[Version]) -> Version | None:
    """Return the version's parent, else the version registered before it."""
    by_name = {one.name: one for one in registered}
    if version.parent in by_name and version.parent != version.name:
        return by_name[version.parent]
    earlier = [one for one in registered if one.registered_at < version.registered_at]
    return max(earlier, key=lambda one: one.registered_at, default=None)
