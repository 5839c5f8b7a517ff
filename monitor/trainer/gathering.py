"""Gather the texts that a request means, and the answers that are good enough to learn from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, assert_never
from urllib.parse import quote

import msgspec

from alerts.outgoing import OutgoingClient, OutgoingError
from monitor.trainer import process
from monitor.trainer.errors import TrainingFailed, TrainingRefused
from monitor.trainer.examples import ChatTurn, Example, distinct, read, read_lines, write
from monitor.trainer.files import EXAMPLES, LABELLED
from monitor.trainer.settings import LabelPolicy, TextSource, TrainerSettings

Item = TypeVar("Item")
COMMAND_LIMIT: Final = timedelta(hours=1)
ANSWER_S: Final = 120.0
_AT_ONCE: Final = 8
_CHUNK: Final = 32
_ROLES: Final = {"human": "user", "gpt": "assistant"}

Tell = Callable[[float, str], None]
"""Says how far a step is, in [0, 1], and keeps the training; it may raise."""


class Api(Protocol):
    """The service, asked with a key of scope ``operate``."""

    def get(self, path: str, **parameters: object) -> Any: ...
    def post(self, path: str, body: object) -> Any: ...
    def put(self, path: str, body: object) -> Any: ...
    def lines(self, path: str, **parameters: object) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """Gathers for one request; what was gathered lies in the folder, and is not asked for again."""

    api: Api
    http: OutgoingClient
    settings: TrainerSettings
    folder: Path
    request: int
    tell: Tell = field(repr=False)

    def texts(self, *, unlike: bool) -> list[Example]:
        """Return the requests with their texts, of those that have any.

        ``unlike`` leaves out those like training. Of more than ``most`` some are taken evenly.
        """
        path = self.folder / EXAMPLES
        if not path.exists():
            write(path, self._texts(unlike=unlike))
        return read(path)

    def _texts(self, *, unlike: bool) -> list[Example]:
        meant = self._meant(unlike=unlike)
        if not meant:
            raise TrainingRefused("the request means no records that could be learned from")
        match self.settings.texts:
            case TextSource.STORED:
                found = self._stored(unlike=unlike)
            case TextSource.COMMAND:
                found = self._of_command(self._thinned(list(meant)))
            case TextSource.ADDRESS:
                ids = self._thinned(list(meant))
                found = self._each("texts", ids, self._of_address)
            case source:
                assert_never(source)
        return self._thinned(
            [
                msgspec.structs.replace(one, feedback=meant[one.id] | one.feedback)
                for one in found
                if one.id in meant
            ]
        )

    def _thinned(self, items: Sequence[Item]) -> list[Item]:
        step = max(1, -(-len(items) // self.settings.most))
        return list(items[::step])

    def _meant(self, *, unlike: bool) -> dict[str, dict[str, float]]:
        """Return the ids that the request means, each with its feedback."""
        lines = self.api.lines(f"/retraining/{self.request}/manifest", unlike=str(unlike).lower())
        rows = (json.loads(line) for line in lines)
        only_good = self.settings.labels is LabelPolicy.FEEDBACK
        return {
            row["id"]: row["feedback"]
            for row in rows
            if not only_good or self._is_good(row["feedback"])
        }

    def _is_good(self, feedback: Mapping[str, float]) -> bool:
        return feedback.get(self.settings.feedback, -math.inf) >= self.settings.feedback_least

    def _stored(self, *, unlike: bool) -> list[Example]:
        lines = self.api.lines(
            f"/retraining/{self.request}/export", format="sharegpt", unlike=str(unlike).lower()
        )
        return [_of_sharegpt(json.loads(line)) for line in lines]

    def _of_command(self, ids: Sequence[str]) -> list[Example]:
        given, said = self.folder / "ids.txt", self.folder / "command.jsonl"
        given.write_text("".join(f"{one}\n" for one in ids), encoding="utf-8")
        words = self.settings.command
        with given.open("rb") as stdin, said.open("wb") as stdout:
            process.run(
                words,
                log=self.folder / "command.log",
                alive=lambda: self.tell(0.0, f"{Path(words[0]).name} fetches {len(ids):,} texts"),
                limit=COMMAND_LIMIT,
                given=stdin,
                into=stdout,
            )
        with said.open("rb") as lines:
            return list(read_lines(lines, f"the output of {words[0]}"))

    def _of_address(self, one: str) -> Example | None:
        place = self.settings.address.replace("{id}", quote(one, safe=""))
        reply = self.http.get(place, timeout=ANSWER_S)
        if reply.status == HTTPStatus.NOT_FOUND:
            return None
        if reply.status != HTTPStatus.OK or reply.truncated:
            raise ValueError(f"it answered {reply.status}")
        found = msgspec.json.decode(reply.body_start, type=Example)
        return msgspec.structs.replace(found, id=one)

    def labelled(self, texts: Sequence[Example]) -> list[Example]:
        """Return the examples whose answers are to be learned, one of each question.

        Raises
        ------
        TrainingRefused
            There are fewer than ``least``, or no policy.
        """
        path = self.folder / LABELLED
        if not path.exists():
            write(path, distinct(self._labelled(texts)))
        found = read(path)
        if len(found) < self.settings.least:
            raise TrainingRefused(
                f"{len(found)} of {len(texts)} texts have an answer to learn from"
                f" (labels: {self.settings.labels}); {self.settings.least} are needed"
            )
        return found

    def _labelled(self, texts: Sequence[Example]) -> list[Example]:
        match self.settings.labels:
            case LabelPolicy.NONE:
                raise TrainingRefused('trainer.labels is "none": no answer is good enough to learn')
            case LabelPolicy.ACCEPTED:
                return [one for one in texts if one.accepted and one.answered]
            case LabelPolicy.FEEDBACK:
                return [one for one in texts if one.answered and self._is_good(one.feedback)]
            case LabelPolicy.TEACHER:
                asked = {one.id: one for one in texts if one.asked}
                return self._each("labels", list(asked), lambda one: self._taught(asked[one]))
            case policy:
                assert_never(policy)

    def _taught(self, example: Example) -> Example:
        """Let the teacher answer a prompt."""
        settings = self.settings
        key = settings.teacher_key
        body = {
            "model": settings.teacher_model,
            "messages": [msgspec.to_builtins(turn) for turn in example.asked],
            "temperature": 0,
        }
        reply = self.http.post(
            f"{settings.teacher_url.rstrip('/')}/chat/completions",
            body=json.dumps(body).encode(),
            headers={"content-type": "application/json"}
            | ({"authorization": f"Bearer {key}"} if key else {}),
            timeout=ANSWER_S,
        )
        if reply.status != HTTPStatus.OK:
            raise ValueError(f"it answered {reply.status}")
        said = msgspec.json.decode(reply.body_start, type=_Completion).choices[0].message.content
        if not said.strip():
            raise ValueError("its answer is empty")
        return example.answer(said)

    def _each(
        self, name: str, ids: Sequence[str], fetch: Callable[[str], Example | None]
    ) -> list[Example]:
        """Ask for each by itself, several at once; what has come is kept if it is interrupted.

        One that fails costs no other.

        Raises
        ------
        TrainingFailed
            More than half failed.
        """
        path = self.folder / f"{name}.jsonl"
        found = read(path) if path.exists() else []
        known = {one.id for one in found}
        left = [one for one in ids if one not in known]
        failed: list[str] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(left), _CHUNK):
                self.tell(start / len(left), f"{start:,} of {len(left):,} {name}")
                chunk = left[start : start + _CHUNK]
                answers = list(pool.map(lambda one: _tried(fetch, one), chunk))
                failed += [one for one in answers if isinstance(one, str)]
                if len(failed) > len(ids) // 2:
                    raise TrainingFailed(f"{name}: {len(failed)} of {len(ids)} failed: {failed[0]}")
                found += [one for one in answers if isinstance(one, Example)]
                write(path, found)
        return found


class _Said(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Said


class _Completion(msgspec.Struct):
    choices: tuple[_Choice, ...]


def _tried(fetch: Callable[[str], Example | None], one: str) -> Example | str | None:
    """Return what was fetched, or why not: one that fails costs no other."""
    try:
        return fetch(one)
    except (OutgoingError, msgspec.DecodeError, ValueError, IndexError) as error:
        return str(error)


def _of_sharegpt(row: dict[str, Any]) -> Example:
    turns = [ChatTurn(_ROLES[one["from"]], one["value"]) for one in row["conversations"]]
    return Example(id=row["id"], messages=tuple(turns))
