"""Token ids to bytes and to text that may be shown piece by piece."""

import codecs
from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerFast


class Vocabulary:
    """Bytes of every token of a byte-level BPE.

    Text cannot be built token by token: a character may need two tokens. Bytes can.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self._special = frozenset(tokenizer.all_special_ids)

    def written(self, token: int) -> bytes:
        """Bytes that a token adds to a text; special tokens add none."""
        return b"" if token in self._special else self._bytes[token]

    def raw(self, token: int) -> bytes:
        """Bytes that stand for a token in log probabilities; special tokens by their name."""
        return self._bytes[token]

    def shown(self, token: int) -> str:
        """One token as text; incomplete characters show as U+FFFD."""
        return self._bytes[token].decode(errors="replace")

    @cached_property
    def _bytes(self) -> list[bytes]:
        alphabet = _byte_alphabet()
        return [
            piece.encode()
            if index in self._special
            else bytes(alphabet[character] for character in piece)
            for index, piece in enumerate(self._pieces)
        ]


class TextStream:
    """Text of a growing answer: whole characters only, ended by the first stop string.

    While a stop string may have begun, its characters are held back, so that
    nothing is sent that would have to be taken back.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = tuple(stop)
        self._hold = max((len(s) for s in self._stop), default=1) - 1
        self._sent = 0
        self._text = ""
        self.stopped_by: str | None = None

    def push(self, added: bytes, *, final: bool = False) -> str:
        """Add a token's bytes and get the text that may be sent now.

        With ``final`` the rest is given out. After a stop string nothing follows.
        """
        if self.stopped_by is None:
            self._text += self._decoder.decode(added, final=final)
            self._cut_at_stop()
        whole = final or self.stopped_by is not None
        end = len(self._text) if whole else max(self._sent, len(self._text) - self._hold)
        new, self._sent = self._text[self._sent : end], end
        return new

    def _cut_at_stop(self) -> None:
        # A stop string may begin in what is held back, never in what was sent.
        found = [(self._text.find(s, self._sent), s) for s in self._stop]
        earliest = min((hit for hit in found if hit[0] >= 0), default=None)
        if earliest is not None:
            self._text = self._text[: earliest[0]]
            self.stopped_by = earliest[1]


def _byte_alphabet() -> dict[str, int]:
    # GPT-2's table: printable bytes stand for themselves, the others follow from 256 on.
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(0x100) if byte not in printable)
    return alphabet | {chr(0x100 + index): byte for index, byte in enumerate(others)}
