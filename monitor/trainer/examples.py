"""Examples to train on: lines of JSON, in the three forms that trainers read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from monitor.trainer.errors import TrainingRefused
from monitor.trainer.files import written

LONGEST_LINE: Final = 1 << 20
MOST_LINES: Final = 1_000_000


class ChatTurn(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    content: str


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One example: ``messages``, or ``prompt`` and ``completion``, or ``text``.

    ``accepted`` says that its owner calls the answer good; ``feedback`` is that of the request.
    """

    id: str = ""
    messages: tuple[ChatTurn, ...] = ()
    prompt: str = ""
    completion: str = ""
    text: str = ""
    accepted: bool = False
    feedback: dict[str, float] = {}

    @property
    def turns(self) -> tuple[ChatTurn, ...]:
        """The conversation; empty where it is only a text."""
        if self.messages:
            return self.messages
        asked = (ChatTurn("user", self.prompt),) if self.prompt else ()
        return (*asked, ChatTurn("assistant", self.completion)) if self.completion else asked

    @property
    def asked(self) -> tuple[ChatTurn, ...]:
        """The conversation up to its last answer."""
        turns = self.turns
        return turns[:-1] if turns and turns[-1].role == "assistant" else turns

    @property
    def question(self) -> tuple[object, ...]:
        """The words that two examples about one thing share."""
        return (self.text, *self.asked)

    @property
    def answered(self) -> bool:
        """True if it ends with an answer, or is a text."""
        turns = self.turns
        return bool(self.text) or (len(turns) > len(self.asked) > 0 and bool(turns[-1].content))

    def answer(self, text: str) -> Example:
        """Return it with this answer in place of its own."""
        return msgspec.structs.replace(
            self, messages=(*self.asked, ChatTurn("assistant", text)), prompt="", completion=""
        )


_DECODE: Final = msgspec.json.Decoder(Example)
_ENCODE: Final = msgspec.json.Encoder()


def read_lines(lines: IO[bytes], where: str) -> Iterator[Example]:
    """Read lines; raises :class:`TrainingRefused` with the first that is none."""
    bounded = iter(lambda: lines.readline(LONGEST_LINE + 1), b"")
    for number, line in enumerate(bounded, start=1):
        if number > MOST_LINES:
            raise TrainingRefused(f"{where}: more than {MOST_LINES:,} lines")
        if len(line) > LONGEST_LINE:
            raise TrainingRefused(f"{where}, line {number}: longer than {LONGEST_LINE:,} bytes")
        if line.strip():
            try:
                yield _DECODE.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise TrainingRefused(f"{where}, line {number}: {error}") from None


def read(path: Path) -> list[Example]:
    """Read a file of examples; raises :class:`TrainingRefused`."""
    try:
        with path.open("rb") as lines:
            return list(read_lines(lines, str(path)))
    except OSError as error:
        raise TrainingRefused(f"{path}: {error.strerror}") from None


def write(path: Path, examples: Sequence[Example]) -> None:
    """Write a file of examples, whole or not at all."""
    written(path, b"".join(_ENCODE.encode(one) + b"\n" for one in examples))


def distinct(examples: Iterable[Example]) -> list[Example]:
    """Return the first example of each question, in order."""
    found: dict[tuple[object, ...], Example] = {}
    for one in examples:
        found.setdefault(one.question, one)
    return list(found.values())
