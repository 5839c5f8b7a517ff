"""Command that inspects the weights in an adapter's folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from monitor.cli import screen
from monitor.cli.failures import CommandFailed, ExitCode
from monitor.domain import WeightsState

if TYPE_CHECKING:
    from monitor.probes.weights.health import ModuleHealth
    from monitor.probes.weights.inspection import Inspection

FURTHEST = 5
_EXIT_CODES: Final = {
    WeightsState.HEALTHY: ExitCode.OK,
    WeightsState.SUSPECT: ExitCode.DRIFTING,
    WeightsState.BROKEN: ExitCode.CRITICAL,
    WeightsState.UNREADABLE: ExitCode.FAILED,
}
STYLES = {"healthy": "green", "suspect": "yellow", "broken": "bold red", "note": "dim"}
_NUMBERS = {
    "effective rank": "effective_rank",
    "entropy rank": "entropy_rank",
    "rank of 90 % energy": "energy_rank",
    "‖sBA‖": "frobenius",
    "largest direction": "spectral",
    "‖sBA‖ / ‖W‖": "ratio",
}
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def inspect(
    folder: Annotated[Path, typer.Argument(help="An adapter's folder, as peft saves it.")],
    base: Annotated[
        Path | None,
        typer.Option(help="Folder of the base model: how large are the updates beside it?"),
    ] = None,
    *,
    full: Annotated[bool, typer.Option("--full", help="Show every module.")] = False,
    as_json: Json = False,
) -> None:
    """Look at an adapter's weights without loading a model.

    Reads safetensors only, needs no GPU and no service. Exit code 0 is healthy, 3 suspect,
    4 broken, 1 that the folder cannot be inspected.
    """
    from monitor.probes.weights.errors import WeightsRefused
    from monitor.probes.weights.inspection import inspect_folder
    from monitor.probes.weights.report import to_json

    try:
        with screen.progress() as progress:
            task = progress.add_task("modules", total=None)
            found = inspect_folder(
                folder,
                base=base,
                advance=lambda done, of: progress.update(task, completed=done, total=of),
            )
    except WeightsRefused as error:
        raise CommandFailed(f"{folder}: {error.reason}") from None
    if as_json:
        screen.as_json(to_json(found))
    else:
        _print(folder, found, full=full)
    raise typer.Exit(_EXIT_CODES[found.state])


def _print(folder: Path, found: Inspection, *, full: bool) -> None:
    _print_kinds(found)
    if full:
        _print_modules("every module", [(module, None) for module in found.modules])
    else:
        from monitor.probes.weights.report import furthest

        _print_modules("least like their siblings in other layers", furthest(found, count=FURTHEST))
    for line in _about(found):
        screen.say(line)
    for finding in found.findings:
        screen.say(f"{finding.gravity}: {finding.what}", style=STYLES[finding.gravity])
    screen.say(f"{folder}: {found.state}", style=STYLES[found.state])


def _about(found: Inspection) -> list[str]:
    config = found.config
    kind = "DoRA" if config.use_dora else "rsLoRA" if config.use_rslora else "LoRA"
    revision = f" at {config.revision}" if config.revision else ""
    trained = (
        f"{kind}, r {config.r}, alpha {config.lora_alpha:g}, on"
        f" {config.base_model_name_or_path or 'an unnamed base'}{revision};"
        f" {found.tensors} tensors, {found.bytes:,} bytes"
    )
    whole = [f"{len(found.others)} tensors are stored whole"] if found.others else []
    return [
        trained,
        f"identity {found.identity}, of weights and config",
        f"sha256 {found.sha256}, of the weights file alone",
        *whole,
    ]


def _print_kinds(found: Inspection) -> None:
    kinds: dict[str, list[ModuleHealth]] = {}
    for module in found.modules:
        kinds.setdefault(module.kind, []).append(module)
    screen.table(
        "lowest / median / highest over layers",
        ["module", "n", "r", "scale", "format", *_NUMBERS],
        [
            [
                kind,
                str(len(modules)),
                _few(str(module.rank) for module in modules),
                _few(f"{module.scale:.3g}" for module in modules),
                _few(dtype for module in modules for dtype in module.dtypes),
                *(_spread(modules, name) for name in _NUMBERS.values()),
            ]
            for kind, modules in sorted(kinds.items())
        ],
    )


def _print_modules(title: str, chosen: Sequence[tuple[ModuleHealth, float | None]]) -> None:
    if not chosen:
        return
    screen.table(
        title,
        ["module", "r", *_NUMBERS, "robust z", "note"],
        [
            [
                module.module,
                str(module.rank),
                *(screen.figure(getattr(module, name)) for name in _NUMBERS.values()),
                screen.number(z, digits=1),
                _note(module),
            ]
            for module, z in chosen
        ],
    )


def _note(module: ModuleHealth) -> Text | str:
    if module.problem:
        return Text(screen.plain(module.problem), style=STYLES["broken"])
    if module.nonfinite:
        return Text(f"{module.nonfinite:,} NaN or infinite", style=STYLES["broken"])
    if module.magnitude:
        return f"magnitude {module.magnitude.lowest:.3g} … {module.magnitude.highest:.3g}"
    return "zero" if module.changes_nothing else ""


def _few(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def _spread(modules: Sequence[ModuleHealth], name: str) -> str:
    from monitor.probes.weights.report import numbers, spread

    found = spread(numbers(modules, name))
    return " / ".join(screen.figure(value) for value in found) if found else "-"
