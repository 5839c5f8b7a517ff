"""``make release``: build the sdist, the wheel from it, and use the wheel where nothing else is.

Everything it needs is in the environment of development already; it publishes nothing.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from release.building import ROOT, build, contents, lacking, problems
from release.installed import Installed, Unusable


def main() -> int:
    """Build into ``dist``, list what is in the wheel, use it; 1 where something is wrong."""
    into = ROOT / "dist"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    sdist, wheel = build(into)
    names = contents(wheel)
    print("\n".join(names))
    for built in (sdist, wheel):
        print(f"{built.relative_to(ROOT)}: {built.stat().st_size / 1e6:.2f} MB")
    if wrong := problems(names) + lacking(contents(sdist)):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    try:
        with TemporaryDirectory() as folder:
            Installed.into(Path(folder), wheel).use()
    except Unusable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
