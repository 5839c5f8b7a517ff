"""The models of one worker, and the operations on them. It loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt
import peft
import torch

from detectors.parity import Parity, TopLogprobs
from monitor.probes.errors import FolderRefused, TokenizersDiffer
from monitor.probes.local import protocol
from monitor.probes.local.adapters import BASE, Adapters
from monitor.probes.local.folders import Fingerprints, FolderKind, kind_of
from monitor.probes.local.likeness import Likeness
from monitor.probes.local.model import CausalModel
from monitor.probes.local.scoring import Voice, guesses, logprobs, negative_logprobs
from monitor.probes.local.voices import Alone, MixedAdapters, Swapped
from monitor.probes.prompt_logprobs import LARGEST_NLL

MIXED_SHARE: Final = 8
"""Adapters share a batch where the texts fill less than this part of it for each: measured
on a CPU, 8 adapters over 35, 140 and 560 tokens cost .5, .9 and 1.3 of swapping."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Models x texts: NLL sums in nats (NaN if not scored), tokens, tokens without a number."""

    sums: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    non_finite: npt.NDArray[np.int64]


class LocalModels:
    """One base with its adapters, and another whole model while it is compared."""

    def __init__(self, folder: Path, opening: protocol.OpenBase) -> None:
        torch.set_num_threads(opening.threads)
        self._opening = opening
        self.base = CausalModel(folder, dtype=opening.dtype, device=opening.device)
        self._adapters = Adapters(
            self.base, base_name=opening.model, keep=max(2, opening.loaded_adapters)
        )
        self._fingerprints = Fingerprints()
        self._last: tuple[str, CausalModel] | None = None
        self.dtype = str(self.base.dtype).removeprefix("torch.")
        self.engine = f"torch {torch.__version__} peft {peft.__version__} {self.base.device.type}"

    @torch.inference_mode()
    def score(
        self, models: Sequence[protocol.Base | protocol.HashedAdapter], texts: Sequence[str]
    ) -> Scores:
        """Score texts by several models; texts that are too long or too short stay NaN.

        Raises
        ------
        FolderRefused, ProbeFailed
            The first adapter that cannot be loaded ends the call.
        """
        ids = self.base.encode(texts)
        usable = _usable(ids, longest=self.base.longest)
        shape = (len(models), len(texts))
        found = Scores(
            sums=np.full(shape, np.nan),
            tokens=np.zeros(shape, dtype=np.int64),
            non_finite=np.zeros(shape, dtype=np.int64),
        )
        for begin in range(0, len(models), self._adapters.keep):
            group = range(begin, min(begin + self._adapters.keep, len(models)))
            names = [self._name(models[m]) for m in group]
            rows = [(m, t) for m in group for t in usable]
            nats = self._nats([ids[t] for t in usable], names)
            for (model, text), values in zip(rows, nats, strict=True):
                _put(found, model, text, values)
        return found

    @torch.inference_mode()
    def expect(
        self, model: protocol.Base | protocol.HashedAdapter, texts: Sequence[str], *, top: int
    ) -> TopLogprobs:
        """Return the likeliest tokens at each position of the texts."""
        ids = self.base.encode(texts)
        usable = _usable(ids, longest=self.base.longest)
        voice = self.voice(model)
        parts = []
        for part in guesses([ids[i] for i in usable], voice, budget=self._opening.batch_tokens):
            logits = logprobs(voice, part)
            best = logits.topk(min(top, logits.shape[1]), dim=1)
            chosen = logits.gather(1, part.tokens[:, None])[:, 0]
            parts.append((chosen.cpu(), best.indices.cpu(), best.values.cpu(), part.texts))
        return _in_order(parts, usable, top=top)

    @torch.inference_mode()
    def compare(
        self, a: protocol.Model, b: protocol.Model, texts: Sequence[str]
    ) -> tuple[Parity, ...]:
        """Compare two models over their whole vocabularies, text by text.

        Raises
        ------
        TokenizersDiffer
            The models split a text into different tokens.
        FolderRefused
            A folder cannot be loaded.
        """
        one, other = self.voice(a), self.voice(b)
        ids = one.model.encode(texts)
        _require_same_tokens(ids, other.model.encode(texts))
        longest = min(one.model.longest, other.model.longest)
        usable = _usable(ids, longest=longest)
        texts_ids, places = [ids[i] for i in usable], torch.tensor(usable, dtype=torch.long)
        budget = self._opening.batch_tokens
        likeness = Likeness(len(texts))
        pairs = zip(
            guesses(texts_ids, one, budget=budget),
            guesses(texts_ids, other, budget=budget),
            strict=True,
        )
        for here, there in pairs:
            p, q = logprobs(one, here), logprobs(other, there)
            if p.shape != q.shape:
                raise TokenizersDiffer(f"vocabularies of {p.shape[1]} and {q.shape[1]} tokens")
            likeness.add(p, q, tokens=here.tokens, texts=places[here.texts.cpu()])
        return likeness.parities()

    def _nats(self, ids: list[list[int]], names: Sequence[str]) -> list[torch.Tensor]:
        """Return the nats of each token for each (name, text), names outermost."""
        length = sum(len(text) for text in ids)
        small = length * MIXED_SHARE <= self._opening.batch_tokens
        if len(names) > 1 and small and self._adapters.mixable:
            rows = ids * len(names)
            owners = [name for name in names for _ in ids]
            voice: Voice = MixedAdapters(model=self.base, adapters=self._adapters, names=owners)
            return self._nats_of(rows, voice)
        return [nats for name in names for nats in self._nats_of(ids, self._swapped(name))]

    def _nats_of(self, ids: list[list[int]], voice: Voice) -> list[torch.Tensor]:
        parts: list[list[torch.Tensor]] = [[] for _ in ids]
        for part in guesses(ids, voice, budget=self._opening.batch_tokens):
            nats = negative_logprobs(voice, part)
            owners, counts = torch.unique_consecutive(part.texts, return_counts=True)
            for i, own in zip(owners.tolist(), torch.split(nats, counts.tolist()), strict=True):
                parts[i].append(own)
        return [torch.cat(own) for own in parts]

    def voice(self, model: protocol.Model) -> Alone | Swapped:
        """Make one model answer alone."""
        match model:
            case protocol.Base() | protocol.HashedAdapter():
                return self._swapped(self._name(model))
            case protocol.Whole():
                return Alone(model=self._other(Path(model.folder)))
            case _:
                assert_never(model)

    def _other(self, folder: Path) -> CausalModel:
        """Load another whole model, and cache it, because texts come in several parts."""
        if kind_of(folder) is not FolderKind.MODEL:
            raise FolderRefused(folder, "it holds an adapter, not a whole model")
        weights = self._fingerprints.of(folder)
        if self._last is None or self._last[0] != weights:
            self._last = None  # free it before the next one takes its place
            model = CausalModel(folder, dtype=self._opening.dtype, device=self._opening.device)
            self._last = (weights, model)
        return self._last[1]

    def _swapped(self, name: str) -> Swapped:
        return Swapped(model=self.base, adapters=self._adapters, name=name)

    def _name(self, model: protocol.Base | protocol.HashedAdapter) -> str:
        match model:
            case protocol.Base():
                return BASE
            case protocol.HashedAdapter():
                return self._adapters.load(Path(model.folder), model.weights)
            case _:
                assert_never(model)


def _usable(ids: Sequence[Sequence[int]], *, longest: int) -> list[int]:
    """Return the indices of texts with a token to predict that fit the context."""
    return [i for i, text in enumerate(ids) if 2 <= len(text) <= longest]  # noqa: PLR2004 - a token and one before it


def _put(found: Scores, model: int, text: int, nats: torch.Tensor) -> None:
    """Sum a text's tokens as for a served model: see ``prompt_logprobs.total``."""
    unknown = nats.isnan() | (nats == -torch.inf)
    impossible = nats == torch.inf
    known = nats.masked_fill(impossible, LARGEST_NLL)[~unknown]
    found.tokens[model, text] = len(known)
    found.non_finite[model, text] = int((unknown | impossible).sum())
    found.sums[model, text] = float(known.sum()) if len(known) else np.nan


def _in_order(
    parts: Sequence[tuple[torch.Tensor, ...]], usable: Sequence[int], *, top: int
) -> TopLogprobs:
    """Put the results of batches back into the order of the texts."""
    if not parts:
        return TopLogprobs(
            chosen=np.empty(0),
            tokens=np.empty((0, top), dtype=np.int64),
            logprobs=np.empty((0, top)),
            document=np.empty(0, dtype=np.int64),
        )
    chosen, tokens, values, texts = (torch.cat(column) for column in zip(*parts, strict=True))
    order = texts.argsort(stable=True)
    return TopLogprobs(
        chosen=chosen[order].double().numpy(),
        tokens=tokens[order].numpy(),
        logprobs=values[order].double().numpy(),
        document=np.asarray(usable, dtype=np.int64)[texts[order].numpy()],
    )


def _require_same_tokens(one: list[list[int]], other: list[list[int]]) -> None:
    for number, (here, there) in enumerate(zip(one, other, strict=True)):
        if here != there:
            raise TokenizersDiffer(f"text {number} is other tokens to the one than to the other")
