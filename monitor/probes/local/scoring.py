"""Score texts with a model, applying the head only where a token is to be predicted.

Imported only inside a worker: it loads torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch

from monitor.probes.batches import batches

CHUNK: Final = 256
"""Tokens whose logits exist at one time."""
_BLOCK: Final = 1 << 18
"""Logits converted to float32 at one time on a CPU: 1 MB stays in its cache."""


class Voice(Protocol):
    """A model's current state: with one adapter, one for each row, or none."""

    @property
    def device(self) -> torch.device:
        """The device of the model's numbers."""
        ...

    def hidden(self, ids: torch.Tensor, texts: Sequence[int]) -> torch.Tensor:
        """Return the head's inputs ``(b, l, h)`` for token ids ``(b, l)`` of numbered texts."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the head to rows ``(n, h)``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guesses:
    """Tokens to predict: hidden states ``(t, h)`` before them, their ids, their texts."""

    hidden: torch.Tensor
    tokens: torch.Tensor
    texts: torch.Tensor


def guesses(texts: Sequence[Sequence[int]], voice: Voice, *, budget: int) -> Iterator[Guesses]:
    """Run texts, of at least two tokens each, in batches of ``budget`` padded tokens.

    Every token but a text's first is predicted once, in order within a text. Yields parts of at
    most :data:`CHUNK` tokens, to bound the memory of their logits.
    """
    for batch in batches([len(ids) for ids in texts], budget=budget):
        lengths = torch.tensor([len(texts[i]) for i in batch])
        padded = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
        for row, i in enumerate(batch):
            padded[row, : len(texts[i])] = torch.tensor(texts[i])
        guessed = torch.arange(1, padded.shape[1]) < lengths[:, None]
        hidden = voice.hidden(padded.to(voice.device), batch)
        whole = Guesses(
            hidden=hidden[:, :-1][guessed.to(voice.device)],
            tokens=padded[:, 1:][guessed].to(voice.device),
            texts=torch.tensor(batch).repeat_interleave(lengths - 1),
        )
        yield from _cut(whole)


def _cut(whole: Guesses) -> Iterator[Guesses]:
    for begin in range(0, len(whole.tokens), CHUNK):
        part = slice(begin, begin + CHUNK)
        yield Guesses(hidden=whole.hidden[part], tokens=whole.tokens[part], texts=whole.texts[part])


def negative_logprobs(voice: Voice, part: Guesses) -> torch.Tensor:
    """Return the nats ``(t,)`` of each token, float64 on the CPU."""
    logits = voice.logits(part.hidden)
    on_cpu = logits.device.type == "cpu"
    step = max(1, _BLOCK // logits.shape[1]) if on_cpu else max(1, len(logits))
    nats = []
    for begin in range(0, len(logits), step):
        block = logits[begin : begin + step].float()
        chosen = block.gather(1, part.tokens[begin : begin + step, None])[:, 0]
        nats.append(block.logsumexp(1) - chosen)
    return torch.cat(nats).double().cpu()


def logprobs(voice: Voice, part: Guesses) -> torch.Tensor:
    """Return logprobs ``(t, vocabulary)`` in nats, float32."""
    return voice.logits(part.hidden).float().log_softmax(1)
