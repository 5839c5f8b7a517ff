"""The process that copies: one task as JSON on stdin, its outcome as JSON on stdout."""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from monitor.artifacts.copying import CopyAsked, CopyDone, CopyFailed, CopyKind
from monitor.artifacts.wanted import WANTED
from monitor.probes.weights.described import MOST_FILES, dataset_of

CHUNK: Final = 1 << 20
TRIES: Final = 3
MEMORY: Final = 8 << 30
"""Bytes of address space; clients of clouds map a lot of it."""
_WAIT: Final = 2.0
INSTALL: Final = "this needs more packages here: pip install 'driftline[fetch]', and s3fs or gcsfs"


def main() -> None:
    """Do one task, within limits."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=CopyAsked)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if asked.most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked.most, asked.most))
    sys.stdout.buffer.write(msgspec.json.encode(_tried(asked)))


def _tried(asked: CopyAsked) -> CopyDone:
    """Do the task; a place that fails for a moment is asked three times."""
    for attempt in range(1, TRIES + 1):
        try:
            return _done(asked)
        except CopyFailed as failed:
            return CopyDone(error=str(failed), missing=failed.missing)
        except ImportError:
            return CopyDone(error=INSTALL)
        except Exception as error:  # noqa: BLE001 (clients of clouds raise anything)
            if attempt == TRIES:
                # a client's message may quote what it was given
                return CopyDone(error=f"the place does not answer ({type(error).__name__})")
            time.sleep(_WAIT * attempt)
    raise AssertionError(TRIES)


def _done(asked: CopyAsked) -> CopyDone:
    from fsspec import url_to_fs  # noqa: PLC0415 (it may be missing here)

    fs, root = url_to_fs(asked.address)
    match asked.kind:
        case CopyKind.FETCH:
            _fetch(fs, root.rstrip("/"), Path(asked.folder), most=asked.most)
        case CopyKind.PUT:
            _put(fs, root.rstrip("/"), Path(asked.folder))
        case CopyKind.HASH:
            return CopyDone(sha256=_hash(fs, root.rstrip("/")))
    return CopyDone()


def _fetch(fs: Any, root: str, folder: Path, *, most: int) -> None:
    root, left = _settled(fs, root), most
    before = [_mark(fs, f"{root}/{name}") for name in WANTED]
    for name, limit in WANTED.items():
        size = _size(fs, f"{root}/{name}")
        if size is None:
            raise CopyFailed(f"there is no {name}", missing=True)
        if size > min(left, limit):
            raise CopyFailed(f"{name} has {size:,} bytes, more than {min(left, limit):,}")
        with _access(), fs.open(f"{root}/{name}", "rb") as source:
            left -= _copied(source, folder / name, most=min(left, limit), name=name)
    if [_mark(fs, f"{root}/{name}") for name in WANTED] != before:
        raise _Changed


class _Changed(Exception):  # noqa: N818 (named as the outcome)
    """The files were replaced while they were copied; another try gets the new ones."""


def _settled(fs: Any, root: str) -> str:
    """Name the commit of a hub's branch, so that all files are of one."""
    if "hf" not in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        return root
    from huggingface_hub import HfApi  # noqa: PLC0415 (it may be missing here)

    path = fs.resolve_path(root)
    found = HfApi().repo_info(path.repo_id, repo_type=path.repo_type, revision=path.revision)
    kind = "" if path.repo_type == "model" else f"{path.repo_type}s/"
    return f"{kind}{path.repo_id}@{found.sha}/{path.path_in_repo}".rstrip("/")


def _mark(fs: Any, path: str) -> str | None:
    """Return what differs between two contents of a path; None: there is no such file."""
    try:
        with _access():
            return str(fs.ukey(path))
    except FileNotFoundError:
        return None


def _copied(source: Any, target: Path, *, most: int, name: str) -> int:
    """Copy at most so many bytes: a place may lie about a size."""
    written = 0
    with target.open("wb") as file:
        while part := source.read(CHUNK):
            written += len(part)
            if written > most:
                raise CopyFailed(f"{name} has more than {most:,} bytes")
            file.write(part)
    return written


def _put(fs: Any, root: str, folder: Path) -> None:
    with _access():
        fs.makedirs(root, exist_ok=True)
        for name in WANTED:
            if (folder / name).is_file():
                fs.put_file(str(folder / name), f"{root}/{name}")


def _hash(fs: Any, root: str) -> str:
    root = _settled(fs, root)
    with _access():
        found = list(islice(_files(fs, root), MOST_FILES + 1))
    if not found:
        raise CopyFailed("there are no files", missing=True)
    if len(found) > MOST_FILES:
        raise CopyFailed(f"more than {MOST_FILES:,} files")
    single = found == [root]
    return dataset_of(
        [
            (root.rpartition("/")[2] if single else path.removeprefix(f"{root}/"), _sum(fs, path))
            for path in found
        ],
        single=single,
    )


def _files(fs: Any, root: str) -> Iterator[str]:
    """Yield the paths of all files, folder by folder."""
    if fs.isfile(root):
        yield root
        return
    for folder, _, names in fs.walk(root, on_error="raise"):
        yield from (f"{folder}/{name}" for name in names if name)


def _sum(fs: Any, path: str) -> str:
    total = hashlib.sha256()
    with _access(), fs.open(path, "rb") as source:
        while part := source.read(CHUNK):
            total.update(part)
    return total.hexdigest()


def _size(fs: Any, path: str) -> int | None:
    try:
        with _access():
            return int(fs.info(path)["size"])
    except FileNotFoundError:
        return None


@contextmanager
def _access() -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise CopyFailed("access is denied") from None


if __name__ == "__main__":
    main()
