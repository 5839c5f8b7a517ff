"""Ask a served adapter questions, and write its answers as Driftline takes them.

One question a line in, one JSON line out: a record for ``POST /v1/records``, or with
``--baseline`` a baseline line of a reference. Answers are read by the mapping that
``driftline replay`` reads logs by; beside this checkout only Python is needed. An application
watches its own ``openai`` client instead, with ``driftline.client``::

    python -m examples.vllm_records --adapter support --version v7 questions.txt
"""

import argparse
import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from driftline.client import call_record

TOP_LOGPROBS: Final = 5
"""Enough for entropy and margin; every record of an adapter should have the same."""


def chat_request(model: str, prompt: str, *, temperature: float, max_tokens: int) -> dict[str, Any]:
    """Body of ``POST /v1/chat/completions`` that asks for log-probabilities too."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": temperature,
        "max_tokens": max_tokens,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }


def ask(engine: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send one chat request and give the record of it; raises OSError."""
    at, began = datetime.now(UTC), time.perf_counter()
    call = urllib.request.Request(  # noqa: S310 - the address is given on the command line
        f"{engine.rstrip('/')}/v1/chat/completions",
        data=json.dumps(request).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=120) as reply:  # noqa: S310 - as above
        answer = json.load(reply)
    return call_record(request, answer, at=at, latency_ms=1e3 * (time.perf_counter() - began))


def main() -> None:
    """Ask every question of a file."""
    given = _arguments()
    names = {"adapter": given.adapter, "version": given.version}
    own = {"role": "baseline"} if given.baseline else names
    questions = [line for line in given.questions.read_text().splitlines() if line.strip()]
    requests = [
        chat_request(
            f"{given.adapter}@{given.version}",
            question,
            temperature=given.temperature,
            max_tokens=given.max_tokens,
        )
        for question in questions
    ]
    with ThreadPoolExecutor(given.parallel) as pool:
        for found in pool.map(lambda request: ask(given.engine, request), requests):
            sys.stdout.write(json.dumps(own | found) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("questions", type=Path, help="text file, one question a line")
    parser.add_argument("--engine", default="http://127.0.0.1:8000")
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--baseline", action="store_true", help="write lines of a reference")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--parallel", type=int, default=4, help="requests at a time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
