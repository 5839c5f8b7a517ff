"""An environment for peers that Driftline does not depend on: made when first needed.

It sees everything in Driftline's own environment, so that both are raced in one process,
and adds the pinned packages of ``peers.txt``. Nothing is added to Driftline's own.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".venv-peers"
PINNED = HERE / "peers.txt"


def python() -> Path:
    """Path of an interpreter that has the peers; installs them if the list has changed."""
    interpreter, marker = FOLDER / "bin" / "python", FOLDER / "installed.txt"
    wanted = PINNED.read_text(encoding="utf-8") + sys.version
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        _install(interpreter)
        marker.write_text(wanted, encoding="utf-8")
    return interpreter


def _install(interpreter: Path) -> None:
    venv.create(FOLDER, clear=True, symlinks=True, with_pip=False)
    own = Path(sysconfig.get_path("purelib"))
    lib = FOLDER / own.relative_to(sys.prefix)
    (lib / "driftline.pth").write_text(f"{own}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps"]
    subprocess.run([*pip, "--quiet", "-r", str(PINNED)], check=True)
