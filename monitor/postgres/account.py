"""Choose the account of the server, since PostgreSQL refuses to run as root.

An ordinary user runs it directly. Root runs it in its own user namespace, in which root appears as
an ordinary account: nothing is created, no folder has to be opened, and on disk the files still
belong to root. Where the kernel refuses such namespaces (Docker's default profile), root falls back
to a system user, with a copy of the programs in ``/var/lib/driftline``, because that user may not
be able to reach ours.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from monitor.postgres.binaries import BIN, LAYOUT, Binaries
from monitor.postgres.errors import OTHER_SERVER, NamespaceRefused

SYSTEM_USER = "driftline"
SYSTEM_HOME = Path("/var/lib/driftline")
_PREFERRED_UID = 1000
# Our own environment may hold secrets, so none of it reaches the server.
ENVIRONMENT = MappingProxyType({"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccount:
    """The way to start a server program.

    ``prefix`` goes before its command line; ``uid`` and ``gid`` own its files, as seen from here;
    ``switch`` is true if the process must change to them first.
    """

    bin: Path
    prefix: tuple[str, ...]
    uid: int
    gid: int
    switch: bool

    def spawn(
        self, program: str, *arguments: str, output: int | IO[bytes], descriptors: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        """Start a server program in its own session, so that Ctrl-C does not reach it.

        Parameters
        ----------
        program, arguments
            Its name in ``bin`` and its command line.
        output
            The destination of both its streams.
        descriptors
            Further descriptors that it inherits.
        """
        return subprocess.Popen(  # noqa: S603 - our own programs and paths, no shell
            [*self.prefix, str(self.bin / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=descriptors,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )


def choose_account(binaries: Binaries) -> ServerAccount:
    """Pick the account for this process.

    Raises
    ------
    NamespaceRefused
        There is no usable ordinary account.
    """
    uid = os.geteuid()
    if uid != 0 and _has_name(uid):
        return ServerAccount(bin=binaries.bin, prefix=(), uid=uid, gid=os.getegid(), switch=False)
    # initdb needs a user with a name, which `docker run --user 4242` lacks.
    prefix = _namespace_prefix()
    if prefix is not None:
        return ServerAccount(
            bin=binaries.bin, prefix=prefix, uid=uid, gid=os.getegid(), switch=False
        )
    if uid != 0:
        raise NamespaceRefused(
            f"user id {uid} has no name in /etc/passwd and this kernel refuses user namespaces: "
            f"give it a name, {OTHER_SERVER}"
        )
    return _system_account(binaries)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _namespace_prefix() -> tuple[str, ...] | None:
    uids = sorted(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    program = shutil.which("unshare")
    if program is None or not uids:
        return None
    inner = _PREFERRED_UID if _PREFERRED_UID in uids else uids[0]
    prefix = (program, "--user", f"--map-user={inner}", f"--map-group={inner}", "--")
    tried = subprocess.run(  # noqa: S603 - no outside input
        [*prefix, "true"], capture_output=True, check=False
    )
    return prefix if tried.returncode == 0 else None


def _system_account(binaries: Binaries) -> ServerAccount:
    try:
        entry = _system_user()
        copy = _copy_programs(binaries)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise NamespaceRefused(
            f"running as root, user namespaces are refused, and the system user {SYSTEM_USER!r} "
            f"could not be set up ({error}): run as an ordinary user, {OTHER_SERVER}"
        ) from error
    return ServerAccount(bin=copy, prefix=(), uid=entry.pw_uid, gid=entry.pw_gid, switch=True)


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin") or "useradd"
        options = ["--system", "--no-create-home", f"--home-dir={SYSTEM_HOME}"]
        options += ["--shell=/usr/sbin/nologin"]
        subprocess.run(  # noqa: S603 - constants only
            [program, *options, SYSTEM_USER], check=True, capture_output=True
        )
        return pwd.getpwnam(SYSTEM_USER)


def _copy_programs(binaries: Binaries) -> Path:
    """Copy the programs and their libraries, once for each release of the wheel."""
    target = SYSTEM_HOME / f"postgres-{binaries.release}"
    if not target.exists():
        SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".copying-", dir=SYSTEM_HOME))
        for part in LAYOUT:
            shutil.copytree(binaries.site / part, draft / part, symlinks=True)
        _open_to_read(draft)
        try:
            draft.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(draft)
    return target / BIN


def _open_to_read(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
