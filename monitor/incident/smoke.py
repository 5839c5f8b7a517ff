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

from monitor.domain import Version
from monitor.incident.reading import Story
from monitor.probes.corpus import Document
from monitor.probes.smoke import MOST_PROMPTS, Questioner, SmokeAnswer

PATIENCE: Final = timedelta(seconds=60)
"""For all prompts and models together, because a person waits."""


class Role(StrEnum):
    """The model that answers."""

    CURRENT = "current"
    PREVIOUS = "previous"
    BASE = "base"


class NotAskable(LookupError):  # noqa: N818 - it is a fact about the incident, not a fault
    """The smoke test cannot run now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model to ask: ``name`` is for people, ``model`` for engines."""

    role: Role
    name: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One prompt and each model's answer, in the order of the models."""

    prompt: Document
    answers: Sequence[tuple[Asked, SmokeAnswer]]


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

    def ask(self, story: Story) -> Sequence[Exchange]:
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


def _exchanges(
    questioner: Questioner, whom: Sequence[Asked], prompts: Sequence[Document]
) -> list[Exchange]:
    until = time.monotonic() + PATIENCE.total_seconds()
    with ThreadPoolExecutor(max_workers=len(whom), thread_name_prefix="smoke") as pool:
        said = list(pool.map(lambda one: questioner.answers(one.model, prompts, until=until), whom))
    return [
        Exchange(prompt=prompt, answers=list(zip(whom, answers, strict=True)))
        for prompt, answers in zip(prompts, zip(*said, strict=True), strict=True)
    ]


def _whom(questioner: Questioner, story: Story) -> list[Asked]:
    version = story.version
    if version is None:
        return []
    found = [Asked(role=Role.CURRENT, name=version.label, model=version.model)]
    previous = previous_of(version, story.versions)
    if previous is not None:
        found.append(Asked(role=Role.PREVIOUS, name=previous.label, model=previous.model))
    base = questioner.engines.base_of(version.model) or version.base_model
    if base:
        found.append(Asked(role=Role.BASE, name=base, model=base))
    return found


def previous_of(version: Version, registered: Sequence[Version]) -> Version | None:
    """Return the version's parent, else the version registered before it."""
    by_name = {one.name: one for one in registered}
    if version.parent in by_name and version.parent != version.name:
        return by_name[version.parent]
    earlier = [one for one in registered if one.registered_at < version.registered_at]
    return max(earlier, key=lambda one: one.registered_at, default=None)
