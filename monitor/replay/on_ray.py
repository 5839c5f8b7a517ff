"""A replay of many versions on Ray: files are read side by side, then versions are replayed so.

Each line goes to the worker that replays its version, and there through the same code as in one
process. Lines keep their order: of files by name, and within a file.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import msgspec

from driftline.formats.lines import Unreadable
from monitor.capture.checks import RecordRefused
from monitor.domain import EvaluationKind
from monitor.evaluate.settings import EvaluateSettings
from monitor.probes.embedding import EmbeddingClient, EmbeddingSettings
from monitor.probes.errors import ProbeError
from monitor.replay.body import Body, body_of, file_body
from monitor.replay.cluster import NO_RAY, RayCluster
from monitor.replay.errors import ReplayFailed
from monitor.replay.files import lines_of
from monitor.replay.reading import UNNAMED, LogReading, parsed, time_of, wanted
from monitor.replay.replaying import ReplayParts, Request, replay
from monitor.replay.tally import FIRST_BAD, Tally
from monitor.replay.watch import Unwatched, Watch
from monitor.windows import Cadence

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".parquet")
"""Files of a folder that are read."""
_AT_ONCE: Final = 16 << 20
_PARTITIONS_PER_WORKER: Final = 4
_SHUFFLED: Final = 3
"""Ray asks for so many times a version's lines of memory where it brings them together."""
_OF_THE_FILE: Final = ""
"""Label of the row that tells how a file's lines were taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyVersions:
    """A replay of each version in the files of a log.

    log
        A file, a folder, or an address that fsspec opens, such as ``s3://bucket/logs``.
    first
        The records of each version that are its baseline, by number or time.
    embedding
        The embedding probe of each worker; None: nothing is embedded.
    """

    log: str
    first: int | timedelta
    reading: LogReading
    settings: EvaluateSettings
    cadences: Mapping[EvaluationKind, Cadence]
    approve: bool = False
    fleet: int | None = None
    embedding: EmbeddingSettings | None = None


def replay_on(cluster: RayCluster, asked: ManyVersions, *, watch: Watch) -> Body:
    """Replay every version, and give what ``replay --by-model --json`` prints of the same log.

    A file that cannot be read further and a version that cannot be replayed cost only themselves.

    Raises
    ------
    ReplayFailed
        Nothing could be replayed, or a worker failed.
    """
    files = files_of(asked.log)
    with cluster.joined():
        import ray  # noqa: PLC0415 (it may be missing here, which `joined` tells)
        from ray.exceptions import RayError  # noqa: PLC0415

        try:
            watch.begin(f"reading {len(files)} files", 1)
            rows = [{"file": place, "path": path} for place, path in enumerate(files)]
            lines = (
                ray.data.from_items(rows, override_num_blocks=len(rows))
                .map_batches(_lines, batch_size=1, batch_format="pyarrow", fn_args=[asked.reading])
                .materialize()
            )
            about = lines.map_batches(_about_files, batch_format="pyarrow").take_all()
            about.sort(key=lambda row: row["file"])
            read = _Read.of([msgspec.json.decode(row["line"], type=_File) for row in about], files)
            read.explain(asked)
            refuse_too_much(read.sizes, [node["Resources"] for node in ray.nodes()])
            asked = replace(asked, fleet=asked.fleet or len(read.sizes))
            watch.begin(f"replaying {len(read.sizes)} versions", len(read.sizes))
            results = []
            for row in (
                lines.map_batches(_adopted, batch_format="pyarrow", fn_args=[read.names])
                .groupby("label", num_partitions=_partitions(len(read.sizes)))
                .map_groups(_replayed, batch_format="pyarrow", fn_args=[asked])
                .iter_rows()
            ):
                results.append(msgspec.convert(row, _Result))
                watch.reach(len(results))
        except RayError as error:
            raise ReplayFailed(f"a worker of Ray failed: {error}") from error
    return _body(asked, results, read)


def _partitions(versions: int) -> int:
    """Return how many parts the versions are dealt out to: enough that no worker is idle."""
    import ray  # noqa: PLC0415

    workers = int(ray.cluster_resources().get("CPU", 1))
    return _PARTITIONS_PER_WORKER * min(versions, workers)


def files_of(log: str) -> list[str]:
    """Return a log's files by name: itself, or those of a folder that end as logs do.

    Raises
    ------
    ReplayFailed
        There is none, or the place cannot be read.
    """
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 (Ray brings it)
    except ImportError:
        raise ReplayFailed(NO_RAY) from None
    try:
        store, path = url_to_fs(log)
        single, found = store.isfile(path), sorted(store.find(path))
    except Exception as error:
        raise ReplayFailed(f"{log}: {error}") from error  # stores have errors of their own
    if not found:
        raise ReplayFailed(f"{log}: there is no such file, and no folder with files")
    if single:
        return [store.unstrip_protocol(path)]
    found = [store.unstrip_protocol(one) for one in found]
    if not (logs := [one for one in found if one.endswith(ENDINGS)]):
        raise ReplayFailed(f"{log}: no file that ends in {', '.join(ENDINGS)}")
    return logs


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """How a file's lines were taken, and the bytes of each label's.

    ``unread`` says why nothing of it could be read; None if something could.
    """

    tally: Tally
    sizes: dict[str, int]
    unread: str | None = None


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a version, as JSON, and the place of its first line."""

    label: str
    file: int
    number: int
    found: bytes


def _lines(batch: pa.Table, given: LogReading) -> Iterator[pa.Table]:
    """Yield the usable lines of files, each with its label; then a line about the file."""
    for row in batch.to_pylist():
        yield from _lines_of(row["file"], row["path"], given)


def _lines_of(file: int, path: str, given: LogReading) -> Iterator[pa.Table]:
    import fsspec  # noqa: PLC0415 (Ray brings it)

    tally, sizes, rows, unread = Tally(), Counter[str](), _Rows(file), None
    try:
        with fsspec.open(path, "rb") as raw:
            for number, line in lines_of(cast("BinaryIO", raw), path, Unwatched()):
                tally.lines += 1
                if (label := _label(number, line, given, tally)) is not None:
                    rows.add(label, number, line or b"")
                    sizes[label] += len(line or b"")
                if rows.size >= _AT_ONCE:
                    yield rows.taken()
    except Exception as error:  # noqa: BLE001 (stores have errors of their own, and it is one file)
        if tally.lines:
            tally.refuse(tally.lines + 1, f"the rest cannot be read: {error}")
        else:
            unread = str(error).removeprefix(f"{path}: ")
    about = _File(tally=tally, sizes=sizes, unread=unread)
    rows.add(_OF_THE_FILE, 0, msgspec.json.encode(about))
    yield rows.taken()


def _label(number: int, line: bytes | None, given: LogReading, tally: Tally) -> str | None:
    """Return the label of a usable line, and count one that is not."""
    try:
        found = parsed(number, line, given)
        if found is None:
            return None
        if not wanted(found.label, given):
            tally.pass_over(found.label)
            return None
        found.admitted(time_of(found, given, place=0))
    except (Unreadable, RecordRefused) as refused:
        tally.refuse(number, str(refused))
        return None
    return found.label


def _about_files(lines: pa.Table) -> pa.Table:
    import pyarrow.compute as pc  # noqa: PLC0415

    return lines.filter(pc.equal(lines["label"], _OF_THE_FILE))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """All files together.

    names
        The label of its version by each label: failures may name none.
    sizes
        Bytes of each version's lines.
    """

    tally: Tally
    names: Mapping[str, str]
    sizes: Mapping[str, int]
    unread: Mapping[str, str]

    @classmethod
    def of(cls, files: Sequence[_File], paths: Sequence[str]) -> _Read:
        """Add up what was read of each file, in their order."""
        labels = list(dict.fromkeys(label for one in files for label in one.sizes))
        named = [label for label in labels if label != UNNAMED]
        names = {label: named[0] if len(named) == 1 else label for label in labels}
        sizes = Counter[str]()
        for one in files:
            for label, size in one.sizes.items():
                sizes[names[label]] += size
        together = zip(paths, files, strict=True)
        unread = {path: one.unread for path, one in together if one.unread is not None}
        tally = _together([one.tally for one in files], paths)
        return cls(tally=tally, names=names, sizes=sizes, unread=unread)

    def explain(self, asked: ManyVersions) -> None:
        """Raise ReplayFailed where nothing can be replayed, or ``strict`` asks for it."""
        if asked.reading.strict and self.tally.bad:
            first = self.tally.bad[0]
            raise ReplayFailed(f"{first.file or asked.log}, line {first.line}: {first.reason}")
        if not self.sizes:
            unread = "; ".join(f"{path}: {why}" for path, why in self.unread.items())
            raise ReplayFailed(unread or self.tally.why_nothing(asked.log, asked.reading.adapter))


def refuse_too_much(sizes: Mapping[str, int], nodes: Sequence[Mapping[str, float]]) -> None:
    """Raise ReplayFailed where no node has the memory for a version: Ray would wait for ever.

    ``sizes`` are bytes of lines by version, ``nodes`` the resources of each as Ray names them.
    """
    largest, most = (
        max(sizes, key=lambda label: sizes[label]),
        max(node.get("memory", 0.0) for node in nodes),
    )
    if _SHUFFLED * sizes[largest] > most:
        raise ReplayFailed(
            f"{largest} has {sizes[largest] / 1e9:.1f} GB of lines, and no node has {_SHUFFLED}"
            " times as much memory: replay a shorter time, or leave out top_logprobs"
        )


def _adopted(lines: pa.Table, labels: Mapping[str, str]) -> pa.Table:
    """Return the records alone, each under the label of its version."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    records = lines.filter(pc.not_equal(lines["label"], _OF_THE_FILE))
    under = pa.array([labels[one] for one in records["label"].to_pylist()], pa.string())
    return records.set_column(records.schema.get_field_index("label"), "label", under)


class _Rows:
    """Lines on their way to the worker that replays their version."""

    def __init__(self, file: int) -> None:
        self.size = 0
        self._file = file
        self._rows: list[tuple[str, int, bytes]] = []

    def add(self, label: str, number: int, line: bytes) -> None:
        """Put a line beside the others."""
        self._rows.append((label, number, line))
        self.size += len(line)

    def taken(self) -> pa.Table:
        """Return the lines so far, and forget them."""
        import pyarrow as pa  # noqa: PLC0415

        labels, numbers, lines = zip(*self._rows, strict=True)
        self._rows, self.size = [], 0
        return pa.table(
            {
                "label": labels,
                "file": [self._file] * len(labels),
                "number": numbers,
                "line": pa.array(lines, pa.large_binary()),
            }
        )


def _replayed(group: pa.Table, asked: ManyVersions) -> pa.Table:
    """Replay the version whose lines these are."""
    import pyarrow as pa  # noqa: PLC0415

    rows = group.sort_by([("file", "ascending"), ("number", "ascending")])
    found = msgspec.json.encode(_story(rows["line"].to_pylist(), asked))
    first = {name: [rows[name][0].as_py()] for name in ("label", "file", "number")}
    return pa.table(first | {"found": [found]})


def _story(lines: Sequence[bytes], asked: ManyVersions) -> Body | str:
    """Return the body of a version, or why it could not be replayed."""
    parts = ReplayParts(
        settings=asked.settings,
        cadences=asked.cadences,
        embed=None if asked.embedding is None else _embedder(asked.embedding),
        fleet=asked.fleet,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{PurePosixPath(asked.log).stem}.jsonl"
        path.write_bytes(b"\n".join(lines))
        reading = replace(asked.reading, apart=True, adapter=None)
        request = Request(log=path, first=asked.first, reading=reading, approve=asked.approve)
        try:
            outcome = replay(request, parts, watch=Unwatched())
        except ReplayFailed as error:
            return str(error)
        except ProbeError as error:
            return f"the embedding probe failed: {error}; --no-embeddings leaves prompts alone"
    return cast("Body", body_of(outcome)["versions"][0])


@cache
def _embedder(settings: EmbeddingSettings) -> EmbeddingClient:
    """Return this worker's embedding probe; it ends with the worker."""
    return EmbeddingClient(settings)


def _together(tallies: Sequence[Tally], files: Sequence[str]) -> Tally:
    """Add up the tallies of a log's files, in their order."""
    whole = Tally()
    for file, tally in zip(files, tallies, strict=True):
        whole.lines += tally.lines
        whole.n_bad += tally.n_bad
        whole.timeless += tally.timeless
        for label, count in tally.passed_over.items():
            whole.passed_over[label] = whole.passed_over.get(label, 0) + count
        whole.bad += [replace(one, file=file) if len(files) > 1 else one for one in tally.bad]
    whole.bad = whole.bad[:FIRST_BAD]
    return whole


def _body(asked: ManyVersions, results: Sequence[_Result], read: _Read) -> Body:
    versions: list[Body] = []
    failed = dict(read.unread)
    for one in sorted(results, key=lambda one: (one.file, one.number)):
        found = msgspec.json.decode(one.found)
        if isinstance(found, str):
            failed[one.label] = found.removeprefix(f"{one.label}: ")
        else:
            versions.append(found)
    if not versions:
        raise ReplayFailed("; ".join(f"{label}: {why}" for label, why in failed.items()))
    file = file_body(asked.log, read.tally)
    return {"file": file, "baseline": None, "versions": versions, "failed": failed}
