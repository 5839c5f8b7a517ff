"""Two models compared on the same inputs: asked, shown, written to JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from monitor.cli import screen
from monitor.cli.failures import CommandFailed, ExitCode, failing

if TYPE_CHECKING:
    from detectors.parity import Limits, Parity, TopLogprobs
    from monitor.cli.sides import Side
    from monitor.probes.inputs import Input

Tick = Callable[[str, int], None]
"""Called with the reader's name, and the number of texts it has just read."""
SHOWN_INPUTS = 5
SHOWN_MODELS = 5
LONGEST_SHOWN = 200
REAL, FIXED = "real prompts", "fixed texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModels:
    """The results of two models on some inputs.

    ``parts`` separates real prompts from fixed texts: a prompt has a tenth of a document's
    tokens and would vanish in a common mean. ``each`` is by the input's index.
    """

    labels: tuple[str, str]
    taken: tuple[str, str]
    inputs: Sequence[Input]
    parts: Mapping[str, Parity]
    each: Mapping[int, Parity]

    def count(self, part: str) -> int:
        """Count the compared inputs of a part: not too long, and of two tokens at least."""
        return sum(self.inputs[index].real is (part == REAL) for index in self.each)

    def beyond(self, limits: Limits) -> list[str]:
        """Say which part exceeds which limit; empty where the two models are the same."""
        from detectors.parity import beyond

        return [
            f"{part}: {said}"
            for part, parity in self.parts.items()
            for said in beyond(parity, limits)
        ]

    def worst(self) -> list[tuple[int, Parity]]:
        """Return the inputs by divergence, the largest first, without those that have none."""
        differ = [(index, one) for index, one in self.each.items() if one.kl != 0.0]
        return sorted(differ, key=lambda item: -item[1].kl)[:SHOWN_INPUTS]


def compared(a: Side, b: Side, inputs: Sequence[Input]) -> ComparedModels:
    """Let both models read the inputs; raises CommandFailed where one does not."""
    from detectors.parity import pooled

    with screen.progress() as progress:
        task = progress.add_task("reading", total=2 * len(inputs))

        def tick(label: str, count: int) -> None:
            progress.update(task, advance=count, description=f"reading {screen.plain(label)}")

        each = _exactly(a, b, inputs, tick) or _by_top_tokens(a, b, inputs, tick)
    parts = {}
    for part, real in ((REAL, True), (FIXED, False)):
        wanted = [index for index, given in enumerate(inputs) if given.real is real]
        if not wanted:
            continue
        parts[part] = pooled(each[index] for index in wanted if index in each)
        if parts[part].positions == 0:
            raise CommandFailed(
                f"none of the {len(wanted)} {part} could be compared: each is too long for a"
                " model, or has a single token"
            )
    return ComparedModels(
        labels=(a.label, b.label), taken=(a.taken, b.taken), inputs=inputs, parts=parts, each=each
    )


def _exactly(a: Side, b: Side, inputs: Sequence[Input], tick: Tick) -> Mapping[int, Parity]:
    """Compare whole vocabularies where both models are on this machine; otherwise empty."""
    from monitor.probes.comparing import AT_ONCE
    from monitor.probes.errors import ModelMissing, ProbeError, TokenizersDiffer

    if a.local is None or b.local is None:
        return {}
    each: dict[int, Parity] = {}
    for start in range(0, len(inputs), AT_ONCE):
        texts = [given.text for given in inputs[start : start + AT_ONCE]]
        try:
            found = a.local.parities(a.target.folder, b.target.folder, texts)
        except TokenizersDiffer as error:
            raise CommandFailed(str(error), exit_code=ExitCode.DIFFERENT) from None
        except ModelMissing as error:
            raise CommandFailed(f"{error}; --base names the adapters' base") from None
        except ProbeError as error:
            raise CommandFailed(str(error)) from None
        tick(f"{a.label} and {b.label}", 2 * len(texts))
        each |= {start + place: one for place, one in enumerate(found) if one.positions}
    return each


def _by_top_tokens(a: Side, b: Side, inputs: Sequence[Input], tick: Tick) -> Mapping[int, Parity]:
    from detectors.parity import by_document

    texts = [given.text for given in inputs]
    one, other = (_read(side, texts, tick) for side in (a, b))
    with failing(ValueError, exit_code=ExitCode.DIFFERENT):
        return by_document(one, other)


def _read(side: Side, texts: Sequence[str], tick: Tick) -> TopLogprobs:
    from monitor.probes.comparing import read_all
    from monitor.probes.errors import ModelNotServed, ProbeError

    def told(count: int) -> None:
        tick(side.label, count)

    try:
        return read_all(side.probe, side.target, texts, tick=told)
    except ModelNotServed as error:
        named = f", such as {', '.join(error.served[:SHOWN_MODELS])}" if error.served else ""
        raise CommandFailed(f"{side.label}: {error}{named}") from None
    except ProbeError as error:
        raise CommandFailed(f"{side.label}: {error}") from None


def show(found: ComparedModels, said: Sequence[str], *, show_text: bool) -> None:
    """Print the numbers, the worst inputs and the answer."""
    parts, (a, b) = found.parts.values(), found.labels
    for label, taken in zip(found.labels, found.taken, strict=True):
        screen.say(f"{label}: {taken}")
    screen.table(
        f"{a} against {b}",
        ["", *found.parts],
        [
            ["inputs", *(str(found.count(part)) for part in found.parts)],
            ["tokens", *(str(one.positions) for one in parts)],
            ["mean KL, nats per token", *(_kl(one) for one in parts)],
            ["same top token", *(f"{one.top1:.2%}" for one in parts)],
            ["largest difference, nats", *(f"{one.max_delta:.4f}" for one in parts)],
            ["cosine (not decisive)", *(f"{one.cosine:.5f}" for one in parts)],
        ],
    )
    if worst := found.worst():
        screen.table(
            "inputs that differ most",
            ["index", "input", "KL", "same top token", *(["text"] if show_text else [])],
            [_row(found, index, one, show_text=show_text) for index, one in worst],
        )
    if left_out := len(found.inputs) - len(found.each):
        screen.say(f"{left_out} inputs were left out: too long for a model, or a single token")
    screen.say("cosine decides nothing: .99 passes pairs with 78 % top-1 agreement")
    if REAL not in found.parts:
        screen.say("no real prompts were used: name a file of them with --prompts")
    screen.say("different: " + "; ".join(said) if said else "the same", style="bold")


def _kl(one: Parity) -> str:
    return f"{one.kl:.4g}" if one.exact or one.kl == 0.0 else f">= {one.kl:.4g}"


def _row(found: ComparedModels, index: int, one: Parity, *, show_text: bool) -> list[str]:
    given = found.inputs[index]
    row = [str(index), given.label, f"{one.kl:.4g}", f"{one.top1:.1%}"]
    return [*row, _shown(given.text)] if show_text else row


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]} …"


def as_json(found: ComparedModels, *, show_text: bool) -> dict[str, Any]:
    """Return the same as JSON; an input's text only where it is asked for."""
    a, b = found.labels
    worst = [
        {"index": index, "input": found.inputs[index].label}
        | _numbers(one)
        | ({"text": found.inputs[index].text} if show_text else {})
        for index, one in found.worst()
    ]
    counts = {
        "inputs": len(found.each),
        "left_out": len(found.inputs) - len(found.each),
        "real": found.count(REAL),
    }
    parts = {part: _numbers(one) for part, one in found.parts.items()}
    taken = dict(zip(("a_is", "b_is"), found.taken, strict=True))
    return {"a": a, "b": b} | taken | counts | {"parts": parts, "worst": worst}


def _numbers(one: Parity) -> dict[str, Any]:
    values = asdict(one).items()
    return {name: value if math.isfinite(value) else None for name, value in values}
