"""`discover`: register an engine's adapters, and check at once whether each is applied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import discovered, engines, options, registering, screen
from monitor.cli.failures import CommandFailed, ExitCode, failing
from monitor.cli.registering import Named

if TYPE_CHECKING:
    from monitor.cli.applied import EngineCheck
    from monitor.config.sections import Config
    from monitor.probes.cards import ModelCard

DOCUMENTS = 24
PROMPTS = 64


def discover(
    url: Annotated[str, typer.Argument(help="The engine's address.")],
    config: options.Config = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help='Real prompts to ask beside the fixed texts: JSONL with "prompt" or "text",'
            " or plain lines."
        ),
    ] = None,
    *,
    list_only: Annotated[
        bool, typer.Option("--list-only", help="Only list what would be registered.")
    ] = False,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Register nothing; needs no service and no key.")
    ] = False,
    send_key: options.SendKey = False,
    as_json: options.Json = False,
) -> None:
    """Register an engine's adapters and tell whether each is applied.

    Exit code 0: all are; 5: one answers as its base or as a sibling; 1: it is not known.
    """
    screen.without_logs()
    settings = options.settings(config)
    engine = engines.engine(url, settings, send_key=send_key)
    found = [registering.named(card) for card in _adapters(url, engine.models())]
    if list_only:
        discovered.show_plan(found, as_json=as_json)
        return
    registered = {} if check_only else _register(config, found, as_json=as_json)
    done = _check(engine, found, prompts)
    hint = None if check_only else _hint(engine.url, settings)
    discovered.show(engine.url, found, done, registered=registered, hint=hint, as_json=as_json)
    raise typer.Exit(_exit_code(done, registered))


def _adapters(url: str, cards: Sequence[ModelCard]) -> list[ModelCard]:
    from monitor.probes.cards import first_names

    adapters = [*first_names(card for card in cards if card.parent is not None).values()]
    if not adapters:
        names = ", ".join(card.id for card in cards[:5]) or "nothing"
        raise CommandFailed(
            f"{url} serves {names}; none of it names a parent, so none is an adapter. vLLM and"
            " SGLang tell adapters so once one is loaded; llama.cpp serves them without names,"
            " and a proxy hides them: ask the engine itself, or register versions by hand"
        )
    return adapters


def _register(config: Path | None, found: Sequence[Named], *, as_json: bool) -> dict[str, str]:
    with options.service(config) as service:
        known = registering.registered(service)
        done = {named.card.id: registering.register(service, named, known) for named in found}
    if not as_json:
        for named in found:
            screen.note(f"{named.adapter}@{named.version}: registered {done[named.card.id]}")
    return done


def _check(
    engine: engines.AskedEngine, found: Sequence[Named], prompts: Path | None
) -> EngineCheck:
    from monitor.cli import applied

    texts = _texts(prompts)
    cards = [named.card for named in found]
    with screen.progress() as progress:
        total = len(texts) * len(applied.asked_for(cards))
        task = progress.add_task("asking", total=total)

        def tick(model: str, count: int) -> None:
            progress.update(task, advance=count, description=f"asking {screen.plain(model)}")

        return applied.check(engine.probe, cards, texts, tick=tick)


def _texts(prompts: Path | None) -> list[str]:
    from monitor.probes import inputs
    from monitor.probes.corpus import CorpusInvalid, load_corpus

    corpus = load_corpus()
    with failing(CorpusInvalid):
        asked = inputs.prompts(prompts, PROMPTS) if prompts else inputs.sentences(corpus, PROMPTS)
    return [item.text for item in (*inputs.documents(corpus, DOCUMENTS), *asked)]


def _hint(url: str, settings: Config) -> str | None:
    """Print what to add to the config so that the service asks this engine too."""
    from monitor.addresses import is_list
    from monitor.engine_addresses import EngineAddresses

    written = settings.serving.engines
    if any(map(is_list, written)) or url in EngineAddresses(written).now():
        return None
    listed = ", ".join(f'"{engine}"' for engine in (*written, url))
    return f"engines = [{listed}]"


def _exit_code(done: EngineCheck, registered: dict[str, str]) -> ExitCode:
    from detectors.identity import IdentityState

    states = [checked.identity.state if checked.identity else None for checked in done.adapters]
    wrong = {IdentityState.NOT_APPLIED, IdentityState.MIXED_UP, IdentityState.WRONG_WEIGHTS}
    if wrong & set(states):
        return ExitCode.DIFFERENT
    refused = any(word.startswith("refused") for word in registered.values())
    known = all(checked.applied for checked in done.adapters)
    return ExitCode.OK if known and not refused else ExitCode.FAILED
