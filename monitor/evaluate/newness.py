"""New topics: groups among the recent requests that are least like the training.

People ask for them, and so does the message about drifting inputs, outside any transaction
that holds a lock.

Cost: at most 2,000 vectors are read and clustered. On a busy core this takes .4 s for a day
of 4,000 requests and .9 s for a week, half of it in PostgreSQL. The neighbours of the
groups read the training index once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.axes import load_axes
from detectors.clusters import LEAST_ROWS, MOST_ROWS, Clusters, Nearness, find_clusters, nearness
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.rank_reference import RankReference
from detectors.rate_ratio import RateRatio, rate_ratio
from detectors.signals import SIMILARITY
from monitor.domain import Reference, Version
from monitor.evaluate.neighbours import Neighbour, nearest_training
from monitor.evaluate.typical import unit_of, words_of_groups
from monitor.store.evaluation.verdicts import current
from monitor.store.records import samples
from monitor.store.records.samples import ComparedWith, Sampled
from monitor.store.references import calibrations, reference_axes, references

DETECTOR: Final = INPUT_SIMILARITY.name
SIGNAL: Final = SIMILARITY
"""The similarity to training examples alone tells what is new: this module clusters the embeddings
behind it, which no other detector has. So it is about one detector, and not a rule."""
UNLIKE: Final = 0.05
"""Share of the baseline's requests that are as unlike training as the requests clustered here."""
MOST_GROUPS: Final = 10
MOST_RECORDS: Final = 5
MOST_NEIGHBOURS: Final = 3
MOST_OTHERS: Final = 2_000
"""Requests like training that are read as a contrast for a group's terms."""
USUAL: Final = timedelta(hours=24)
LONGEST: Final = timedelta(days=30)
"""Longest interval; another of the same length before it is read to measure growth."""


class NotCompared(LookupError):  # noqa: N818 - it is a fact about the version, not a fault
    """New topics cannot be found; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Requests that are near each other and far from training.

    count, share
        Its requests, and their part of all compared requests, in [0, 1]; scaled up where only a
        part of those unlike training was clustered.
    subjects
        Different subjects among the clustered; a request without one counts as its own.
    growth
        Growth of the share against the interval of the same length before; None where no requests
        were compared then.
    cohesion, similarity
        Mean cosine of its requests to their centre, and to their nearest training examples.
    words
        The most typical first; each was used by at least five subjects.
    records
        Ids of those nearest to the centre.
    prompts, outputs
        Of these, redacted, where text is kept; an answer that is not kept is empty.
    centre
        Unit vector ``(d,)``.
    """

    count: int
    share: float
    subjects: int
    growth: RateRatio | None
    first_seen: datetime
    last_seen: datetime
    cohesion: float
    similarity: float
    records: tuple[str, ...]
    words: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    centre: npt.NDArray[np.float32] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Newness:
    """The new requests in ``[since, until)``: at most ten groups, those of most subjects first.

    ``compared`` requests have a similarity to training, ``unlike`` of them lie below
    ``below``, and ``looked_at`` of these were clustered.
    """

    since: datetime
    until: datetime
    compared: int
    unlike: int
    looked_at: int
    below: float
    groups: tuple[Group, ...]


def new_since(tx: Connection, version: Version, *, now: datetime) -> datetime:
    """Return the onset of the verdict's drifting inputs, at most 30 days ago, or a day ago."""
    judged = current(tx, version_id=version.id)
    drifting = judged is not None and DETECTOR in judged.verdict.detectors
    if judged is None or not drifting or judged.verdict.onset is None:
        return now - USUAL
    return max(judged.verdict.onset.start, now - LONGEST)


def read_newness(tx: Connection, version: Version, *, since: datetime, until: datetime) -> Newness:
    """Find the new topics of a version, with each group's nearest training examples.

    Raises
    ------
    NotCompared
        The version has no reference, or one that measured no similarities.
    """
    reference = references.current(tx, version.id)
    if reference is None:
        raise NotCompared(f"{version.label} has no reference yet")
    calibration = _similarities(tx, reference)
    found = what_is_new(tx, version, reference, calibration, since=since, until=until)
    return with_neighbours(tx, reference, found)


def unlike_below(reference: RankReference, *, share: float) -> float:
    """Return the similarity that this share of the baseline's requests stays below."""
    ordered = reference.ordered[reference.signals.index(SIGNAL)]
    return float(np.quantile(ordered, share))


def what_is_new(
    tx: Connection,
    version: Version,
    reference: Reference,
    calibration: RankReference,
    *,
    since: datetime,
    until: datetime,
) -> Newness:
    """Find groups among a version's requests that are unlike its training.

    Requests of the interval before are clustered with them. Otherwise each group would seem
    to have grown, because it was found in the later interval. At most 2,000 of both
    together are clustered, an even sample. A group has at least three requests of the
    interval itself.

    Parameters
    ----------
    calibration
        Of `input_similarity`; its baseline measured similarities.
    """
    below = unlike_below(calibration, share=UNLIKE)
    now = ComparedWith(version=version, reference_id=reference.id, start=since, end=until)
    before = replace(now, start=since - (until - since), end=since)
    both = replace(now, start=before.start)
    rows = samples.unlike(tx, both, below=below, limit=MOST_ROWS)
    vectors = _vectors(rows)
    near = _nearness(tx, reference, vectors.shape[1]) if rows else None
    clusters = find_clusters(vectors, near=near)
    looking = _Looking(
        rows=rows,
        clusters=clusters,
        recent=np.array([row.at >= since for row in rows], dtype=bool),
        now=_counted(tx, now, below),
        before=_counted(tx, before, below),
    )
    return Newness(
        since=since,
        until=until,
        compared=looking.now.compared,
        unlike=looking.now.unlike,
        looked_at=int(looking.recent.sum()),
        below=below,
        groups=tuple(_groups(tx, looking, now, below)),
    )


def with_neighbours(tx: Connection, reference: Reference, found: Newness) -> Newness:
    """Add the nearest training examples to each group."""
    if not found.groups:
        return found
    centres = np.stack([group.centre for group in found.groups])
    near = nearest_training(tx, reference.id, centres, most=MOST_NEIGHBOURS)
    groups = [replace(group, neighbours=of) for group, of in zip(found.groups, near, strict=True)]
    return replace(found, groups=tuple(groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Requests of an interval: those below the line, and the number of all that were compared."""

    unlike: int
    compared: int

    def exposure(self, looked_at: int) -> int:
        """Number of compared requests for which the clustered ones stand."""
        if self.unlike == 0:
            return self.compared
        return round(self.compared * looked_at / self.unlike)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Looking:
    """Requests of both intervals and their clusters; ``recent`` ``(n,)``: of the later one."""

    rows: Sequence[Sampled]
    clusters: Clusters
    recent: npt.NDArray[np.bool_]
    now: _Counted
    before: _Counted

    def chosen(self) -> list[int]:
        """The clusters with enough recent requests, those of most subjects first."""
        sizes = {each: len(self.members(each)) for each in range(len(self.clusters))}
        large = [each for each, size in sizes.items() if size >= LEAST_ROWS]
        return sorted(large, key=lambda each: (-_units(self.members(each)), -sizes[each], each))

    def members(self, cluster: int) -> list[Sampled]:
        """The recent requests of a cluster, those nearest to its centre first."""
        places = np.flatnonzero((self.clusters.label == cluster) & self.recent)
        mine = [self.rows[int(place)] for place in places]
        if not mine:  # the whole cluster is from the earlier interval
            return []
        near = _vectors(mine).astype(np.float32) @ self.clusters.centres[cluster]
        return [mine[int(place)] for place in np.lexsort((places, -near))]

    def group(self, cluster: int, mine: Sequence[Sampled]) -> Group:
        """Describe a cluster by its recent requests, without their words and prompts."""
        looked_at = int(self.recent.sum())
        earlier = int(np.sum((self.clusters.label == cluster) & ~self.recent))
        of_now = max(1, self.now.exposure(looked_at))
        of_before = self.before.exposure(len(self.rows) - looked_at)
        return Group(
            count=round(len(mine) * self.now.unlike / max(1, looked_at)),
            share=len(mine) / of_now,
            subjects=_units(mine),
            growth=rate_ratio(len(mine), of_now, earlier, of_before) if of_before > 0 else None,
            first_seen=min(row.at for row in mine),
            last_seen=max(row.at for row in mine),
            cohesion=float(self.clusters.cohesion[cluster]),
            similarity=float(np.mean([row.similarity for row in mine])),
            records=tuple(row.id for row in mine[:MOST_RECORDS]),
            centre=self.clusters.centres[cluster],
        )


def _groups(tx: Connection, looking: _Looking, now: ComparedWith, below: float) -> Iterable[Group]:
    """Describe the first groups, with their words and stored texts."""
    chosen = looking.chosen()[:MOST_GROUPS]
    members = [looking.members(each) for each in chosen]
    mine = {id(row) for group in members for row in group}
    strangers = [
        row
        for row, recent in zip(looking.rows, looking.recent, strict=True)
        if recent and id(row) not in mine
    ]
    like = samples.like(tx, now, below=below, limit=MOST_OTHERS) if chosen else []
    adapter_id = now.version.adapter_id
    words = words_of_groups(tx, adapter_id, members, others=[*strangers, *like])
    shown = [row for group in members for row in group[:MOST_RECORDS]]
    kept = samples.prompts(tx, adapter_id, [(row.id, row.at) for row in shown])
    for each, rows, typical in zip(chosen, members, words, strict=True):
        texts = [kept[row.id] for row in rows[:MOST_RECORDS] if row.id in kept]
        yield replace(
            looking.group(each, rows),
            words=typical,
            prompts=tuple(text.prompt or "" for text in texts),
            outputs=tuple(text.output or "" for text in texts),
        )


def _units(rows: Sequence[Sampled]) -> int:
    return len({unit_of(row) for row in rows})


def _vectors(rows: Sequence[Sampled]) -> npt.NDArray[np.float16]:
    """``(n, d)``; requests compared with one reference have vectors of one length."""
    vectors = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f2")
    return vectors.reshape(len(rows), -1) if rows else np.empty((0, 1), dtype=np.float16)


def _nearness(tx: Connection, reference: Reference, dimension: int) -> Nearness:
    """Return the index's nearness: the mean cosine of two examples is its centre squared."""
    body = reference_axes.read(tx, reference.id)
    if body is None:
        return Nearness()
    centre = load_axes(body, dimension=dimension).centre
    return nearness(float(centre @ centre))


def _counted(tx: Connection, of: ComparedWith, below: float) -> _Counted:
    unlike, compared = samples.count_below(tx, of, similarity=below)
    return _Counted(unlike=unlike, compared=compared)


def _similarities(tx: Connection, reference: Reference) -> RankReference:
    stored = calibrations.read(tx, reference.id).get(DETECTOR)
    if stored is None or stored.body is None:
        why = stored and stored.absent_reason
        raise NotCompared(
            f"generation {reference.generation} has no similarities to training"
            + (f": {why}" if why else "")
        )
    loaded = DETECTORS[DETECTOR].load(stored.body)
    if not isinstance(loaded, RankReference) or SIGNAL not in loaded.signals:
        raise NotCompared(f"generation {reference.generation} has no similarities to training")
    return loaded
