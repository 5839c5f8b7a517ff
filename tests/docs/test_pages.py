"""What exists is documented, and what is documented exists."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from alerts.channels import CHANNELS
from alerts.types import Blame, VerdictKind
from detectors import DETECTORS
from monitor.capture.wire import Record
from monitor.cli.app import app
from monitor.config.reading import duration
from monitor.config.sections import AdapterSection, Config, DetectorSection, FeedbackSection
from monitor.domain import ArmKind, Mode, Scope
from monitor.gateway.meters import Meters
from monitor.traffic.routers import ROUTERS
from tests.docs.overview import PAGE, written
from tests.docs.pages import DOCS, PAGES, ROOT, anchors, headings, prose, rows, section, text
from tests.service import Service

# --- extension points ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [*DETECTORS, "perplexity"])
def test_every_detector_has_its_heading(name: str) -> None:
    said = section("detectors.md", f"`{name}`")
    assert re.match(r"\s*\*[^*]+\?\*", said), "it begins with the question it answers"
    assert "core" in said, "it says what its score is"
    assert re.search(r"ticket|page|\*\*Hard\*\*", said, re.IGNORECASE), "it says whom it wakes"
    assert "**Blind to**" in said


def test_no_detector_is_described_that_does_not_exist() -> None:
    described = {h.strip("`") for h in headings(DOCS / "detectors.md") if h.startswith("`")}
    assert described == {*DETECTORS, "perplexity"}


def test_the_overview_is_that_of_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page, DETECTORS.values()), "`make docs` writes it anew"


@pytest.mark.parametrize("kind", CHANNELS)
def test_every_channel_has_its_heading_and_keys(kind: str) -> None:
    said = section("channels.md", f"`{kind}`")
    for field in fields(CHANNELS[kind].settings):
        assert f"| `{field.name}` |" in said


@pytest.mark.parametrize("name", ROUTERS)
def test_every_router_has_its_heading(name: str) -> None:
    assert section("routing.md", f"`{name}`")


# --- config -------------------------------------------------------------------------------

SECTIONS = {
    "service": "`[service]`",
    "server": "`[server]`",
    "database": "`[database]`",
    "serving": "`[serving]`",
    "capture": "`[capture]`",
    "reference": "`[reference]`",
    "probes.embedding": "`[probes.embedding]`",
    "probes.perplexity": "`[probes.perplexity]`",
    "schedule": "`[schedule]`",
    "policy": "`[policy]` and `[margins]`",
    "margins": "`[policy]` and `[margins]`",
    "detectors": "`[detectors]`",
    "alerting": "`[alerting]`",
    "canary": "`[canary]`",
    "admission": "`[admission]`",
    "artifacts": "`[artifacts]`",
    "routing": "`[routing]`",
    "routing.gateway": "`[routing.gateway]`",
    "routing.redis": "`[routing.redis]`",
    "routing.vllm": "`[routing.vllm]`",
    "routing.webhook": "`[routing.webhook]`",
    "retrain": "`[retrain]`",
    "trainer": "`[trainer]`",
    "gateway": "`[gateway]`",
    "oidc": "`[oidc]`",
    "outgoing": "`[outgoing]`",
    "defaults": "`[adapters.NAME]` and `[defaults]`",
}
TABLES = {"detectors": "`[detectors]`", "adapters": "`[adapters.NAME]` and `[defaults]`"}
"""Tables named by the user: their sections describe one entry."""


def leaves(section: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            yield from leaves(value, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", value


def keys() -> Iterator[tuple[str, str, Any]]:
    """Every key of the config with the section that must describe it."""
    for path, value in leaves(Config()):
        if path in {"source", "channels", "detectors.by_name", *TABLES}:
            continue
        name = max((s for s in SECTIONS if path.startswith(f"{s}.")), key=len, default=None)
        assert name, f"no section of docs/configuration.md is named for {path}"
        yield SECTIONS[name], path.removeprefix(f"{name}."), value
    for section_ in (DetectorSection(), FeedbackSection()):
        yield from ((TABLES["detectors"], *leaf) for leaf in leaves(section_))


@pytest.mark.parametrize(
    ("heading", "key", "default"), [pytest.param(*row, id=f"{row[0]} {row[1]}") for row in keys()]
)
def test_every_key_is_described_with_its_default(heading: str, key: str, default: Any) -> None:
    described = {
        cells[0].strip("`"): cells[1] for cells in rows(section("configuration.md", heading))
    }
    assert key in described, f"docs/configuration.md, {heading}: no row for `{key}`"
    assert _read(described[key], like=default) == default


def _read(cell: str, *, like: Any) -> Any:
    """Read a default as the config reader would."""
    if cell == "none":
        return None
    value = tomllib.loads(f"value = {cell.strip('`')}")["value"]
    match like:
        case timedelta():
            return duration(value)
        case (timedelta(), *_):
            return tuple(duration(one) for one in value)
        case Path() | StrEnum() | tuple() | frozenset():
            return type(like)(value)
        case _:
            return value


def test_no_key_is_described_that_does_not_exist() -> None:
    known = {(heading, key) for heading, key, _ in keys()}
    for heading in {*SECTIONS.values(), *TABLES.values()}:
        for cells in rows(section("configuration.md", heading)):
            assert (heading, cells[0].strip("`")) in known, f"{heading} {cells[0]}"


def test_the_defaults_of_adapters_are_those_of_their_section() -> None:
    assert dict(leaves(AdapterSection())) == dict(leaves(Config().defaults))


# --- command line, HTTP, metrics ----------------------------------------------------------


def commands(command: Any, path: str = "driftline") -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
        return
    for name, one in inner.items():
        yield from commands(one, f"{path} {name}")


def test_every_command_has_its_heading_and_no_other() -> None:
    described = {h.strip("`") for h in headings(DOCS / "cli.md") if h.startswith("`")}
    assert described == set(commands(typer.main.get_command(app)))


def options_of(command: Any, path: str = "driftline") -> Iterator[tuple[str, str]]:
    """Every option with its command, but for those that all of them have."""
    inner = getattr(command, "commands", None)
    if inner is not None:
        for name, one in inner.items():
            yield from options_of(one, f"{path} {name}")
        return
    for parameter in command.params:
        longest = max(parameter.opts, key=len)
        if longest.startswith("--") and longest not in OF_ALL:
            yield path, longest


OF_ALL = {"--help", "--json", "--config", "--url", "--key"}


@pytest.mark.parametrize(("command", "option"), list(options_of(typer.main.get_command(app))))
def test_every_option_is_described(command: str, option: str) -> None:
    page = text("replay.md") if command == "driftline replay" else section("cli.md", f"`{command}`")
    assert option in page


def test_every_parameter_of_a_query_is_named(service: Service) -> None:
    page = text("http.md")
    named = {
        (parameter["name"], path)
        for path, methods in service.get("/openapi.json")["paths"].items()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
    assert {one for one in named if f"`{one[0]}`" not in page and f"{one[0]}=" not in page} == set()


def test_every_endpoint_is_described_and_no_other(service: Service) -> None:
    description = service.get("/openapi.json")
    existing = {
        f"{method.upper()} {path}"
        for path, methods in description["paths"].items()
        for method in methods
    }
    described = {cells[0].strip("`") for cells in rows(section("http.md", "Endpoints"))}
    assert described == existing


def test_every_field_of_a_record_is_described() -> None:
    described = {
        name
        for cells in rows(section("http.md", "Records"))
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert described == set(Record.__struct_fields__)


def test_every_metric_is_described_and_no_other(service: Service) -> None:
    exported = service.call("GET", "/metrics").text
    listed = {cells[0].strip("`"): cells for cells in rows(text("metrics.md"))}
    described = {name: cells for name, cells in listed.items() if name.startswith("driftline_")}
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(exported)
        if family.name.startswith("driftline_") and not family.name.endswith("_created")
    }
    assert set(described) == set(families)
    for name, family in families.items():
        assert described[name][1].removesuffix(", fleet") == family.type
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        assert labels == set(re.findall(r"\w+", described[name][2])), name


def test_every_metric_of_the_gateway_is_described_and_no_other() -> None:
    described = {cells[0].strip("`"): cells for cells in rows(section("gateway.md", "Metrics"))}
    metrics = [one for one in vars(Meters()).values() if isinstance(one, MetricWrapperBase)]
    exported = {one._name + "_total" * (one._type == "counter"): one for one in metrics}  # noqa: SLF001 - prometheus_client says it nowhere else
    assert set(described) == set(exported)
    for name, metric in exported.items():
        assert described[name][1] == metric._type  # noqa: SLF001 - prometheus_client says it nowhere else
        assert re.findall(r"\w+", described[name][2]) == list(metric._labelnames), name  # noqa: SLF001 - prometheus_client says it nowhere else


# --- words --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [VerdictKind, Blame, ArmKind, Mode])
def test_every_word_of_the_domain_is_in_the_glossary(words: type[StrEnum]) -> None:
    for word in words:
        assert f"`{word.value}`" in text("glossary.md")


def test_every_scope_is_explained() -> None:
    said = section("http.md", "Keys and scopes")
    assert all(f"`{scope.value}`" in said for scope in Scope)


# --- pages --------------------------------------------------------------------------------

LINK = re.compile(r"\[[^\]]*\]\((?!https?://)([^)\s]+)\)")
WRITTEN_LATER = {DOCS / "benchmarks.md", DOCS / "adapters-benchmark.md"}
"""Made by a command, with figures of the machine it ran on."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        name, _, anchor = unquote(target).partition("#")
        to = (page.parent / name).resolve() if name else page
        if to in WRITTEN_LATER:
            continue
        assert to.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(to), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_speaks_of_one_machine(page: Path) -> None:
    said = page.read_text(encoding="utf-8")
    assert not re.search(r"/work/|\.\./shared|/home/\w+/|/root/\S", said)


def test_every_page_is_reachable_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        targets = LINK.findall(prose(page))
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in targets]
    pages = {page for page in DOCS.glob("*.md") if page not in WRITTEN_LATER}
    assert pages <= seen


def test_decisions_are_numbered_and_of_one_shape() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [page.name[:4] for page in decisions]
    assert numbers == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for page in decisions:
        said = page.read_text(encoding="utf-8")
        assert said.startswith(f"# {page.name[:4]}. ")
        for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert part in said


def shown(language: str) -> list[Any]:
    """Give every block of a language, each with its page and the line that it begins on."""
    blocks = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(
            found[1], id=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start())}"
        )
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in blocks.finditer(text)
    ]


@pytest.mark.parametrize("block", shown("json"))
def test_json_in_pages_is_json(block: str) -> None:
    for document in [block] if block.count("\n{") == 0 else block.splitlines():
        assert isinstance(json.loads(document), dict | list)


@pytest.mark.parametrize("block", shown("toml"))
def test_toml_in_pages_is_toml(block: str) -> None:
    assert tomllib.loads(block) != {}
