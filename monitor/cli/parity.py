"""`parity`: whether two models give the same answers, after a merge, quantisation or new engine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import compared, options, screen, sides
from monitor.cli.failures import ExitCode, failing

if TYPE_CHECKING:
    from monitor.probes.inputs import Input


def parity(
    a: Annotated[str, typer.Argument(help="A served name, or a folder of weights.")],
    b: Annotated[str, typer.Argument(help="Another one, or the same name in another engine.")],
    config: options.Config = None,
    engine: Annotated[
        str | None, typer.Option(help="Address of the engine that serves A and B.")
    ] = None,
    engine_b: Annotated[
        str | None, typer.Option(help="Address of the engine that serves B.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Base of adapters that are folders: a folder or a hub name; what they were"
            " trained on if left out."
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help='Real prompts for half of the inputs: JSONL with "prompt" or "text", or'
            " plain lines."
        ),
    ] = None,
    inputs: Annotated[int, typer.Option(min=100, max=2000, help="Texts to compare on.")] = 100,
    max_kl: Annotated[
        float, typer.Option(min=0.0, help="Mean KL(A, B), nats per token, up to which they match.")
    ] = 0.01,
    min_top1: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of tokens where both must prefer the same."),
    ] = 0.98,
    max_delta: Annotated[
        float | None,
        typer.Option(min=0.0, help="Largest difference of a logprob, nats; any if left out."),
    ] = None,
    *,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show the worst inputs themselves: they are data.")
    ] = False,
    send_key: options.SendKey = False,
    as_json: options.Json = False,
) -> None:
    """Compare two models token by token.

    Exit code 0: the same; 5: different; 1: they could not be compared.
    """
    from detectors.parity import Limits

    screen.without_logs()
    settings = options.settings(config)
    limits = Limits(max_kl=max_kl, min_top1=min_top1, max_delta=max_delta)
    texts, urls = _inputs(prompts, inputs), (engine, engine_b or engine)
    with sides.opened((a, b), urls=urls, base=base, config=settings, send_key=send_key) as (
        one,
        other,
    ):
        found = compared.compared(one, other, texts)
    said = found.beyond(limits)
    if as_json:
        answer = {"same": not said, "reasons": said, "limits": asdict(limits)}
        screen.as_json(answer | compared.as_json(found, show_text=show_text))
    else:
        compared.show(found, said, show_text=show_text)
    raise typer.Exit(ExitCode.DIFFERENT if said else ExitCode.OK)


def _inputs(prompts: Path | None, count: int) -> list[Input]:
    """Take half of the inputs from the file, if there is one, the rest from the built-in corpus."""
    from monitor.probes import inputs
    from monitor.probes.corpus import CorpusInvalid, load_corpus

    with failing(CorpusInvalid):
        real = inputs.prompts(prompts, count // 2) if prompts else []
    return [*real, *inputs.general(load_corpus(), count - len(real))]
