"""One answer as it grows: tokens, text and why it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field

from examples.engine.generation import Token
from examples.engine.vocabulary import TextStream, Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one new token adds to a stream."""

    token: Token
    text: str
    last: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Answer:
    """Collects what the model thread reports; read it when its job is done.

    Attributes
    ----------
    ends
        Tokens that end the answer.
    on_piece
        Called in the model thread with every token, for streams.
    """

    vocabulary: Vocabulary
    stream: TextStream
    max_tokens: int
    ends: frozenset[int]
    prompt_ids: list[int]
    on_piece: Callable[[Piece], None] | None = None
    prompt: list[Token] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    text: str = ""

    def take_prompt(self, tokens: list[Token]) -> None:
        """Keep the scores of the prompt's tokens, from the second on."""
        self.prompt = tokens

    def take(self, token: Token) -> bool:
        """Add a token; False when it was the answer's last."""
        self.tokens.append(token)
        ended = token.id in self.ends or len(self.tokens) >= self.max_tokens
        text = self.stream.push(self.vocabulary.written(token.id), final=ended)
        self.text += text
        last = ended or self.stream.stopped_by is not None
        if self.on_piece is not None:
            self.on_piece(Piece(token=token, text=text, last=last))
        return not last

    @property
    def finish_reason(self) -> str:
        """``stop`` after the end token or a stop string, else ``length``."""
        ended = bool(self.tokens) and self.tokens[-1].id in self.ends
        return "stop" if ended or self.stream.stopped_by is not None else "length"
