"""One example for each command, as its ``--help`` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import typer

EXAMPLES: Final[Mapping[str, str]] = {
    "serve": "serve -c config.toml",
    "gateway": "gateway -c config.toml",
    "migrate": "migrate -c config.toml",
    "backup": "backup ./backup-monday",
    "restore": "restore ./backup-monday",
    "check-config": "check-config -c config.toml",
    "doctor": "doctor -c config.toml",
    "status": "status --verdict critical --verdict drifting --watch",
    "open": "open incident 7",
    "evaluate": "evaluate support",
    "discover": "discover http://10.0.3.7:8000",
    "new": "new support --since 7d",
    "explain": "explain 7",
    "budget": "budget support",
    "plan": "plan support",
    "receipt": "receipt --month 2026-11",
    "actions": "actions support --days 3",
    "report": "report support --out support.html",
    "replay": "replay log.jsonl --baseline baseline.jsonl --html replay.html",
    "selftest": "selftest support",
    "inspect": "inspect ./support-v7",
    "parity": "parity support@v7 support@v7-merged --engine http://10.0.3.7:8000",
    "adapters push": "adapters push support v8 ./support-v8",
    "adapters pull": "adapters pull support v8 --into ./support-v8",
    "admit": "admit support v8 --junit admission.xml",
    "import folder": "import folder ./support-v8 support v8 --parent v7 --dataset train.jsonl",
    "import mlflow": "import mlflow http://mlflow:5000 --folder ./adapters --every 300",
    "demo": "demo --once",
    "reference build": 'reference build support v7 reference.ndjson --cause "first release"',
    "reference freeze": "reference freeze support v7 --start 2026-11-01 --end 2026-11-15",
    "reference learn": "reference learn support v7",
    "reference refreeze": 'reference refreeze --match tier=gold --cause "new engine"',
    "reference status": "reference status support v7",
    "reference approve": "reference approve support v7 1",
    "incident list": "incident list --open --severity page",
    "incident show": "incident show 7",
    "incident ack": "incident ack 7 --hours 8",
    "incident false": 'incident false 7 --reason "our own load test"',
    "incident accept": 'incident accept 7 --reason "parcels are sold since Monday"',
    "canary plan": "canary plan support --drop 10",
    "canary start": "canary start support v8 --step 0.05:24h --step 0.5:6h",
    "canary list": "canary list support --active",
    "canary show": "canary show 7",
    "canary pause": 'canary pause 7 --reason "sale on Friday"',
    "canary resume": "canary resume 7",
    "canary promote": "canary promote 7",
    "canary abort": 'canary abort 7 --reason "wrong weights"',
    "route show": "route show support",
    "route history": "route history support --limit 5",
    "route set": 'route set support stable=v7:0.9 canary=v8:0.1 --reason "trial"',
    "route hold": 'route hold support --for 24h --reason "incident 7"',
    "route release": 'route release support --reason "done"',
    "route renew": 'route renew --reason "put back the folder of Monday"',
    "retraining list": "retraining list support",
    "retraining export": "retraining export 1 --unlike --to examples.jsonl",
    "retraining request": 'retraining request support --reason "new questions since the sale"',
    "retraining run": "retraining run 1",
    "retraining cancel": 'retraining cancel 1 --reason "the sale is over"',
    "change begin": 'change begin engine "vLLM 0.32 to 0.33"',
    "change end": "change end 3",
    "change add": 'change add prompt "shorter greeting" --adapter support',
    "change list": "change list --open",
    "channels list": "channels list",
    "channels test": "channels test on-call --severity page",
    "deliveries list": "deliveries list --state dead",
    "deliveries replay": "deliveries replay --all",
    "silence add": 'silence add adapter=support --hours 8 -m "our own load test"',
    "silence list": "silence list --over",
    "silence expire": "silence expire 4",
    "retention show": "retention show",
    "retention confirm": "retention confirm",
    "keys create": "keys create gateway --scope ingest --days 90",
    "keys list": "keys list",
    "keys revoke": "keys revoke 53bb41eafac1",
}


def add_examples(app: typer.Typer, *path: str) -> None:
    """Put each command's example below its help; a command without one is a KeyError."""
    for command in app.registered_commands:
        example = EXAMPLES[" ".join((*path, command.name or ""))]
        command.epilog = f"Example: driftline {example}"
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, *path, str(group.name))
