"""Check a version's weight files, beside its base's and its parent's where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from detectors.checks import Check, CheckVerdict
from detectors.weight_checks import WeightLimits, weight_checks
from monitor.domain import Version
from monitor.probes.asking import local_folder
from monitor.probes.weights.adapter_folder import parsed_config, read_raw_config
from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.hub import base_folder
from monitor.probes.weights.process import WeightQuestion, WeightsTold, asked_apart

SECONDS: Final = 600
"""Of CPU and of wall time: the base's shards are read from the disk."""
UNREADABLE: Final = "its files are not readable here"
"""The only text for an unreachable folder, so that nobody can probe paths through us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesChecked:
    """The checks of the files, and the identity that was checked; None: nothing was read."""

    checks: Sequence[Check]
    identity: str | None = None
    sha256: str | None = None


FindsFiles = Callable[[Version], Path | None]
"""Returns the folder of a version's files; raises WeightsRefused where they cannot be fetched."""


def local_files(version: Version) -> Path | None:
    """Return the folder that a version is registered with."""
    return local_folder(version.uri or "")


def check_files(
    version: Version,
    parent: Version | None,
    limits: WeightLimits,
    *,
    find: FindsFiles = local_files,
) -> FilesChecked:
    """Read the files in a process of their own, and judge what they hold."""
    if version.uri is None and version.model == version.base_model:
        return FilesChecked(checks=[_files(CheckVerdict.PASS, "it is the bare base model")])
    try:
        folder = find(version)
        if folder is None:
            return FilesChecked(checks=[_files(CheckVerdict.REFUSE, UNREADABLE)])
        told = asked_apart(_question(version, folder, parent, find))
    except WeightsRefused as refused:
        out_of_reach = refused.refusal is Remedy.MISSING
        why = UNREADABLE if out_of_reach else refused.reason
        return FilesChecked(checks=[_files(CheckVerdict.REFUSE, why)])
    identity, sha256 = told.report["identity"], told.report["sha256"]
    return FilesChecked(
        checks=[*weight_checks(told.measures, limits), _identity(version, told)],
        identity=identity,
        sha256=sha256,
    )


def _files(verdict: CheckVerdict, reason: str) -> Check:
    return Check(name="files", verdict=verdict, reason=reason)


def _question(
    version: Version, folder: Path, parent: Version | None, find: FindsFiles
) -> WeightQuestion:
    base, no_base = _base(version, folder)
    before = _found(parent, find) if parent else None
    no_parent = "it has no parent"
    if version.parent:
        no_parent = f"the files of its parent {version.parent} are not readable here"
    return WeightQuestion(
        folder=str(folder),
        seconds=SECONDS,
        base=str(base) if base else None,
        parent=str(before) if before else None,
        no_base=no_base,
        no_parent=no_parent,
    )


def _found(parent: Version, find: FindsFiles) -> Path | None:
    try:
        return find(parent)
    except WeightsRefused:
        return None  # the check says so


def _base(version: Version, folder: Path) -> tuple[Path | None, str]:
    """Find the base's files, and say what is true if they cannot be read.

    What was registered comes first, then what the adapter's config names.
    """
    try:
        config = parsed_config(read_raw_config(folder))
        named, revision = config.base_model_name_or_path, config.revision
    except WeightsRefused:
        named, revision = None, None  # the inspection says why
    registered = version.metadata.get("base_revision")
    own = registered if isinstance(registered, str) else revision
    name = version.base_model or named or "an unnamed base"
    why = f"{name} is not readable here, neither as a folder nor in the hub's cache"
    for one in (version.base_model, named):
        found = base_folder(one, revision=own, environ=os.environ) if one else None
        if found is not None:
            return found, why
    return None, why


def _identity(version: Version, told: WeightsTold) -> Check:
    """Compare the files with the registered hash: their identity, or the weights file's alone."""
    identity, of_file = told.report["identity"], told.report["sha256"]
    if version.sha256 is None:
        reason = f"no hash was registered; these are {identity[:12]}…"
        return Check(name="identity", verdict=CheckVerdict.SKIPPED, reason=reason)
    same = version.sha256 in {identity, of_file}
    return Check(
        name="identity",
        limit="the registered hash",
        verdict=CheckVerdict.PASS if same else CheckVerdict.REFUSE,
        reason=f"the files are {identity[:12]}…"
        + ("" if same else f", not {version.sha256[:12]}… as registered"),
    )
