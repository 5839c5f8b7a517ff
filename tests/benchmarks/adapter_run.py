"""A small run of the benchmark of adapters, drawn from a fixed seed in place of an engine."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

START = datetime(2026, 11, 2, 8, tzinfo=UTC)
TOKENS = 24
CALM, BROKEN = 120, 210


def records(
    rng: np.random.Generator,
    count: int,
    *,
    scale: float = 1.0,
    fails: float = 0.0,
    spread: float = 0.4,
    days: float = 0.01,
) -> list[dict[str, Any]]:
    """Draw requests; `scale` multiplies every token's NLL, `fails` is the share of 404s.

    `spread` is by how much answers differ from each other, as the sd of the log of their level;
    they come evenly over `days`.
    """
    made = []
    for place in range(count):
        lead: dict[str, Any] = {
            "id": f"{rng.integers(2**62):x}",
            "adapter": "support",
            "at": (START + timedelta(days=days * place / count)).isoformat(),
            "prompt_tokens": int(rng.integers(8, 20)),
        }
        if rng.random() < fails:
            made.append(lead | {"status": 404, "output_tokens": 0})
            continue
        level = rng.lognormal(-1.0, spread)
        nll = scale * level * rng.exponential(size=TOKENS)
        made.append(
            lead
            | {
                "status": 200,
                "output_tokens": TOKENS,
                "token_logprobs": (-nll).round(4).tolist(),
                "top_logprobs": [[-float(one), -float(one) - 1.5] for one in nll.round(4)],
            }
        )
    return made


def experiment(
    run: Path, way: str, live: list[dict[str, Any]], *, repeat: int = 0, **truth: Any
) -> Path:
    """Write one experiment: the first 120 records are healthy."""
    folder = run / way / str(repeat)
    folder.mkdir(parents=True)
    lines = [{**one, "broken": place >= CALM} for place, one in enumerate(live)]
    log(folder / "records.jsonl", lines)
    body = {
        "way": way,
        "family": "weights",
        "harmless": False,
        "adapter": "support",
        "broken_at": live[CALM]["at"],
        "kl": 0.3,
        "expected": {"seen": True, "blame": ["adapter"], "moved": True},
        "says": f"What {way} is.",
    }
    (folder / "truth.json").write_text(json.dumps(body | truth))
    return folder


def driftline(folder: Path, **seen: Any) -> None:
    """Write what Driftline did with an experiment; nothing where nothing is said."""
    body: dict[str, Any] = {
        "ticket": None,
        "page": None,
        "false_before": 0,
        "blame": None,
        "causes": [],
        "confidence": None,
        "moved": None,
        "answered_broken": 90,
        "probes": 2,
        "cpu_s": 1.5,
        "incidents": [],
        "clients": {"asked": 100},
    }
    (folder / "driftline.json").write_text(json.dumps(body | seen))


def synthetic(run: Path) -> Path:
    """Draw a run of three ways: alpha doubled, all requests fail, and a harmless re-save."""
    rng = np.random.default_rng(14)
    (run / "baseline").mkdir(parents=True)
    log(run / "baseline" / "support.jsonl", records(rng, 400, days=15.0))
    head = {
        "model": "a drawn stream",
        "engine": "none",
        "commit": "0" * 40,
        "seed": 14,
        "started_at": START.isoformat(),
        "machine": "a test",
        "requests": 100,
        "adapters": ["support"],
        "registered": ["support"],
        "probe_cycle_s": 45.0,
        "failed": {"quantised-kv-cache/0": "ProcessFailedError: engine | died\nits log"},
    }
    (run / "run.json").write_text(json.dumps(head))
    calm = records(rng, CALM)
    experiment(run, "alpha_doubled", calm + records(rng, BROKEN, scale=3.0))
    experiment(
        run,
        "gone",
        records(rng, CALM) + records(rng, BROKEN, fails=1.0),
        family="serving",
        kl=None,
        expected={"seen": True, "blame": ["serving"], "moved": True},
    )
    experiment(
        run,
        "resaved",
        records(rng, CALM) + records(rng, BROKEN),
        family="harmless",
        harmless=True,
        kl=0.0,
        expected={"seen": False, "blame": [], "moved": False},
    )
    at = START.isoformat()
    driftline(
        run / "alpha_doubled" / "0",
        ticket={"at": at, "requests": 20},
        page={"at": at, "requests": 32, "by": "perplexity"},
        moved={"at": at, "requests": 34},
        blame="adapter",
        causes=["adapter"],
        confidence="sure",
        answered_broken=34,
    )
    driftline(run / "gone" / "0")
    driftline(run / "resaved" / "0")
    return run


def log(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write records, one a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
