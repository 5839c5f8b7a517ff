"""The settings of a trainer; each field is a key of ``[trainer]`` in the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from string import Formatter
from typing import Final

LEAST_EXAMPLES: Final = 20


class TextSource(StrEnum):
    """The place where the texts of the requests are."""

    STORED = "stored"
    """Driftline, where their owner opted in to text."""
    COMMAND = "command"
    """A command: it reads ids, a line each, and writes the examples."""
    ADDRESS = "address"
    """An HTTP address with ``{id}``: it answers with one example."""


class LabelPolicy(StrEnum):
    """The answers that are good enough to learn from."""

    NONE = "none"
    """None: nothing is trained."""
    ACCEPTED = "accepted"
    """Those that the source of the texts calls accepted."""
    FEEDBACK = "feedback"
    """Those whose feedback is high enough."""
    TEACHER = "teacher"
    """A teacher answers each prompt anew."""


class AfterAdmission(StrEnum):
    """The use of a version that was admitted."""

    NOTHING = "nothing"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """Where texts come from, which answers count, how it is trained, and what follows.

    command
        Program and arguments of ``texts = "command"``.
    address
        With ``{id}``, for ``texts = "address"``.
    feedback, feedback_least
        The name of the feedback, and its smallest number, of ``labels = "feedback"``.
    teacher_url, teacher_model, teacher_key
        An OpenAI-compatible endpoint, for ``labels = "teacher"``.
    training
        File of the examples that the parent was trained on; ``{adapter}`` and ``{version}``.
    base
        Folder of the base model; empty: the one that the parent's config or registration names.
    into
        Where adapters are written: a folder that the engines read too.
    version
        Name of the new version; ``{parent}`` and ``{request}``.
    replay
        Share of earlier training in the mix; None: the request's.
    most, least
        Examples of new requests: more are thinned out, with fewer nothing is trained.
    held_out
        Share of the new examples that is kept from training, to stop in time and to measure.
    epochs, learning_rate, batch, context
        As PEFT's trainers mean them; examples of more tokens than ``context`` are left out.
    patience
        Looks at the held-out examples without gain, after which it stops.
    looks
        At the held-out examples, in an epoch.
    max_time, max_memory
        Of the training; bytes of its process, 0: no limit.
    load
        Have the engines load the new version, as vLLM does on request.
    then
        What becomes of an admitted version.
    """

    texts: TextSource = TextSource.STORED
    command: tuple[str, ...] = ()
    address: str = ""
    labels: LabelPolicy = LabelPolicy.NONE
    feedback: str = ""
    feedback_least: float = 0.5
    teacher_url: str = ""
    teacher_model: str = ""
    teacher_key: str = field(default="", repr=False)
    training: str = ""
    base: str = ""
    into: Path = Path("retrained")
    version: str = "{parent}-r{request}"
    replay: float | None = None
    most: int = 2000
    least: int = 50
    held_out: float = 0.1
    epochs: float = 3.0
    learning_rate: float = 2e-4
    batch: int = 8
    context: int = 1024
    patience: int = 3
    looks: int = 4
    seed: int = 0
    max_time: timedelta = timedelta(hours=4)
    max_memory: int = 0
    load: bool = True
    then: AfterAdmission = AfterAdmission.NOTHING

    @property
    def problems(self) -> list[str]:
        """List what cannot work, each with its key."""
        found = [
            *self._sources(),
            *(
                f"{name}: must be above 0"
                for name in ("epochs", "learning_rate", "batch", "context", "patience", "looks")
                if getattr(self, name) <= 0
            ),
        ]
        if not 0 < self.held_out <= 0.5:  # noqa: PLR2004 (half)
            found.append("held_out: must be above 0, and 0.5 at most")
        if self.replay is not None and not 0 <= self.replay < 1:
            found.append("replay: a share, below 1")
        if not LEAST_EXAMPLES <= self.least <= self.most:
            found.append(f"least: at least {LEAST_EXAMPLES}, and at most `most`")
        if self.max_time <= timedelta():
            found.append("max_time: must be longer than 0")
        if self.max_memory < 0:
            found.append("max_memory: must not be negative")
        found += [
            f"{name}: only {{{'} and {'.join(sorted(known))}}} are filled in"
            for name, known in (
                ("training", {"adapter", "version"}),
                ("version", {"parent", "request"}),
                ("address", {"id"}),
            )
            if not _fields(getattr(self, name)) <= known
        ]
        return found

    def _sources(self) -> list[str]:
        missing = {
            "command": self.texts is TextSource.COMMAND and not self.command,
            "address": self.texts is TextSource.ADDRESS and "{id}" not in self.address,
            "feedback": self.labels is LabelPolicy.FEEDBACK and not self.feedback,
            "teacher_url": self.labels is LabelPolicy.TEACHER and not self.teacher_url,
            "teacher_model": self.labels is LabelPolicy.TEACHER and not self.teacher_model,
        }
        asked = {"command": "texts", "address": "texts"}
        if self.texts is TextSource.STORED and self.labels is LabelPolicy.ACCEPTED:
            return ['labels: stored texts are not marked as accepted; use "feedback" or "teacher"']
        return [
            f"{name}: needed, as {asked.get(name, 'labels')} says"
            for name, lacks in missing.items()
            if lacks
        ]


def _fields(text: str) -> set[str]:
    """Return the names that a template fills in; one that cannot be read has an unknown one."""
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError:
        return {text}
