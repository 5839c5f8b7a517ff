"""An environment for each peer: their pins contradict each other, and none is ours to have.

River sees Driftline's own packages, which meet its pins; Frouros and NannyML are on their
own. Evidently is a dependency of Driftline and needs none.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".venv-statistics-peers"
PINNED = HERE / "peers"
OWN = frozenset({"evidently"})
BESIDE_OWN = frozenset({"river"})


def python(peer: str) -> Path:
    """Path of an interpreter that has the peer; installs it if its list has changed."""
    if peer in OWN:
        return Path(sys.executable)
    folder, pinned = FOLDER / peer, PINNED / f"{peer}.txt"
    marker, interpreter = folder / "installed.txt", folder / "bin" / "python"
    wanted = pinned.read_text(encoding="utf-8") + sys.version
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        _install(folder, interpreter, pinned, beside_own=peer in BESIDE_OWN)
        marker.write_text(wanted, encoding="utf-8")
    return interpreter


def _install(folder: Path, interpreter: Path, pinned: Path, *, beside_own: bool) -> None:
    venv.create(folder, clear=True, symlinks=True, with_pip=False)
    if beside_own:
        own = Path(sysconfig.get_path("purelib"))
        lib = folder / own.relative_to(sys.prefix)
        (lib / "driftline.pth").write_text(f"{own}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps"]
    subprocess.run([*pip, "--quiet", "-r", str(pinned)], check=True)
