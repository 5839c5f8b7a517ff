"""What a daemon with nothing to do has loaded: every start and every process pays for it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2

from monitor.store.database import Database
from tests.loopback import unused_port
from tests.service import ROOT, until

NOT_YET = {
    "aiohttp": "only the gateway asks with it",
    "alembic": "the schema is at head",
    "evidently": "nobody wants a report",
    "markdown_it": "nobody reads a runbook",
    "numpy.f2py": "nothing is scored",
    "opentelemetry.sdk": "no collector is named",
    "pandas": "nobody wants a report",
    "plotly": "its script is a file",
    "scipy.special": "nothing is scored",
    "scipy.stats": "never",
    "sentence_transformers": "the embedding process has it",
    "torch": "the processes of models have it",
    "transformers": "the processes of models have it",
}

SERVE = """
import json, sys
from monitor.cli import main
sys.argv = ["driftline", "serve"]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def test_an_idle_daemon_has_loaded_nothing_that_it_does_not_use(
    database: Database, tmp_path: Path
) -> None:
    port = unused_port()
    settings = {
        "PYTHONPATH": str(ROOT),
        "DRIFTLINE_DATABASE__URL": database.engine.url.render_as_string(hide_password=False),
        "DRIFTLINE_SERVICE__DATA_DIR": str(tmp_path / "data"),
        "DRIFTLINE_SERVER__PORT": str(port),
    }
    daemon = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=tmp_path,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )

    def ready() -> bool:
        assert daemon.poll() is None, "it has ended"
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    try:
        until(ready, "ready")
    finally:
        daemon.send_signal(signal.SIGTERM)
        out, _ = daemon.communicate(timeout=60)
    loaded = set(json.loads(out))

    assert "monitor.daemon.running" in loaded
    assert loaded & NOT_YET.keys() == set()
