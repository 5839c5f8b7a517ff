"""Bodies of ``POST /v1/records`` with 100 records each, made from a fixed seed."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from monitor.capture.packing import pack_f16

RECORDS: Final = 100
TOKENS: Final = 200
TOP: Final = 5

_WORDS: Final = """
    account answer arrive because before card change charge check close confirm contact
    country currency customer day delay deliver deposit detail email exchange expire fee find
    follow help hour identity issue later letter limit link lose message minute money month
    need number open order page password pay pending phone please problem question rate
    receive refund report request return secure send show soon statement step support sure
    thank time top transfer travel try update use verify wait week work write
""".split()  # noqa: SIM905 (a list of quoted words would be a page)


def bodies(count: int, *, logprobs: str, seed: int) -> list[bytes]:
    """Make request bodies; ``logprobs`` is ``none``, ``packed`` or ``json``."""
    words, numbers = random.Random(seed), np.random.default_rng(seed)  # noqa: S311
    return [
        json.dumps(
            {"records": [_record(words, numbers, logprobs) for _ in range(RECORDS)]}
        ).encode()
        for _ in range(count)
    ]


def _record(words: random.Random, numbers: np.random.Generator, logprobs: str) -> dict[str, Any]:
    record = {
        "id": f"{words.getrandbits(128):032x}",
        "adapter": "support",
        "at": datetime.now(UTC).isoformat(),
        "version": "v1",
        "source": "gateway",
        "replica": "gpu-1",
        "engine": "vllm 0.32",
        "prompt": " ".join(words.choices(_WORDS, k=35)),
        "output": " ".join(words.choices(_WORDS, k=55)),
        "temperature": 0.7,
        "max_tokens": 256,
        "prompt_tokens": 80,
        "output_tokens": TOKENS,
        "latency_ms": 1234.5,
        "finish_reason": "stop",
        "status": 200,
    }
    top = np.log(numbers.dirichlet(np.ones(TOP + 1), TOKENS)[:, :TOP])
    if logprobs == "packed":
        share = np.exp(top)
        rest = 1.0 - share.sum(axis=1)
        entropy = -(share * top).sum(axis=1) - rest * np.log(rest)
        ordered = np.sort(top, axis=1)
        record["token_logprobs_f16"] = pack_f16(top[:, 0])
        record["token_entropy_f16"] = pack_f16(entropy)
        record["token_margin_f16"] = pack_f16(ordered[:, -1] - ordered[:, -2])
    if logprobs == "json":
        record["token_logprobs"] = top[:, 0].tolist()
        record["top_logprobs"] = top.tolist()
    return record
