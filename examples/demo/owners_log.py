"""The log of the application that asks: ``python -m examples.demo.owners_log FILE``.

Reads ids of requests, a line each, and writes what was asked with the answer that the staff of the
domain would give, as one text: the demo's adapters learn both turns. A trainer fetches its examples
so, and Driftline need not keep any text.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from examples.texts import Domain, pairs


def main() -> None:
    """Answer stdin's ids."""
    asked = {
        line["id"]: line["prompt"]
        for line in map(json.loads, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    }
    for example in examples(asked, [line.strip() for line in sys.stdin]):
        sys.stdout.write(json.dumps(example) + "\n")


def examples(asked: dict[str, str], ids: list[str]) -> Iterator[dict[str, object]]:
    """Give those of the log that were answered by staff; ids that it does not know are left out."""
    known = {pair.prompt: pair.transcript for domain in Domain for pair in pairs(domain)}
    for one in ids:
        prompt = asked.get(one)
        if prompt in known:
            yield {"id": one, "text": known[prompt], "accepted": True}


if __name__ == "__main__":
    main()
