"""House rules of prose: docs, web pages, messages, commands, and first lines of docstrings.

``python -m tests.docs.prose`` prints each fault with its place, and exits 1 if there is one.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.docs.pages import PAGES, ROOT

WORDS: Final = 35
"""People read a sentence with more words than this twice."""

SYNONYMS: Final = {
    r"false positives?": "false alarm, false page",
    r"x_ref": "reference",
    r"p_val": "evidence",
    r"scorers?": "probe",
    r"notifications?": "message",
    r"dry[- ]run": "mode",
}
"""Other words for what the glossary names."""

PHRASES: Final = {
    r"who(?:m|se)?ever": "name the actor",
    r"by (?:what|which)ever way|by which way": "name the way",
    r"found again": "if it persists, a new incident opens",
    r"nobody (?:names|is told of)": "say what is missing, or silenced",
    r"(?:has|have|takes?|took) (?:it|one|them|an incident) in hand|has in hand": "acknowledge",
    r"needed by what is below": "required",
    r"begins? at nothing": "starts again from zero",
    r"^was it": "if it was",
    r"though \w+ (?:\w+ ){0,2}be": "even if it is",
    r"(?:is|are) others": "is different",
    r"told since": "alerted",
    r"(?:has|have) not(?=[.,;:)])": "lacks",
    r"for so long|of so many|so many a day": "say how long, how many",
    r"(?:speaks?|says?) nothing of": "does not depend on, does not tell",
    r"soft evidence": "name the detectors that only open tickets",
    r"kept from (?:being )?do(?:ne|ing)": "blocked",
    r"what became of (?:it|them)": "outcome",
    r"for a person to (?:say|decide)": "waits for you, your decision",
    r"needs? nobody": "nothing to do",
    r"left unchecked": "skipped",
    r"new normal": "accept as normal",
    r"sees from": "smallest change seen",
}
"""Constructions that a reader has to take apart."""

_UN: Final = r"un(?:able|aware|certain|common|important|kno\w+|like\w*|seen|usual)|without|nothing"
NEGATIVES: Final = {
    rf"\bnot (?:{_UN})": "say it without the second negative",
    r"(?:nobody|nothing|never) (?:\w+ ){0,2}(?:not|nothing|nobody|never)": "the same",
}
OPENINGS: Final = {r"^(?:what|which|whose)": "begin with a verb, or with the thing itself"}

GENERATED: Final = {"docs/benchmarks.md", "docs/adapters-benchmark.md"}
"""Written by a benchmark, whose source owns the sentences."""
RECORDS: Final = "docs/decisions/"
"""A decision is superseded, never rewritten: the glossary holds for it, the rest need not."""
DESCRIPTIONS: Final = ("monitor/api/", "monitor/views/")
"""Docstrings that the API publishes as descriptions of its JSON: "What was done" names a field."""

SPOKEN: Final = (
    ROOT / "tests/alerts/messages.txt",
    *sorted((ROOT / "monitor/web/templates").rglob("*.html")),
    *sorted((ROOT / "monitor/cli").rglob("*.py")),
    *sorted((ROOT / "alerts").rglob("*.py")),
)
"""Files whose texts people read besides the docs: messages, web pages and commands."""

Rules = tuple[tuple[re.Pattern[str], str], ...]


def _rules(*tables: Mapping[str, str]) -> Rules:
    said = (one for table in tables for one in table.items())
    whole = r"(?<![\w`-])(?:{})(?![\w`-])"
    return tuple((re.compile(whole.format(one), re.IGNORECASE), instead) for one, instead in said)


GLOSSARY: Final = _rules(SYNONYMS)
PROSE: Final = _rules(SYNONYMS, PHRASES, NEGATIVES)
DOCSTRING: Final = _rules(SYNONYMS, PHRASES, NEGATIVES, OPENINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One place that breaks a rule, and what to write instead."""

    place: str
    said: str
    instead: str

    def __str__(self) -> str:
        return f"{self.place}: {self.said!r}: {self.instead}"


def faults(name: str, text: str) -> Iterator[Fault]:
    """Find what a page says against the rules."""
    if name in GENERATED or name.startswith(RECORDS):
        yield from _broken(name, _sentences(text), GLOSSARY)
        return
    sentences = list(_sentences(text))
    yield from _broken(name, sentences, PROSE)
    for line, said in sentences:
        words = len(re.findall(r"\w[\w'.,@%/-]*", said))
        if words > WORDS:
            yield Fault(place=f"{name}:{line}", said=said[:60], instead=f"split its {words} words")


def docstring_faults(name: str, text: str) -> Iterator[Fault]:
    """Find what the first lines of a module's docstrings say against the rules."""
    rules = PROSE if name.startswith(DESCRIPTIONS) else DOCSTRING
    lines = ((number, line.lstrip()) for number, line in enumerate(text.splitlines(), 1))
    opening = ((number, line[3:]) for number, line in lines if line.startswith('"""'))
    yield from _broken(name, opening, rules)


_TEMPLATE: Final = re.compile(r"\{#.*?#\}|\{%.*?%\}|<script.*?</script>|<[^>]*>", re.DOTALL)
"""What of a template nobody reads. An attribute that is read aloud is short."""
_SLOT: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def template_faults(name: str, text: str) -> Iterator[Fault]:
    """Find what a web page says against the rules."""
    shown = _TEMPLATE.sub(lambda mark: " | " + "\n" * mark[0].count("\n"), text)
    lines = enumerate(_SLOT.sub("Code", shown).splitlines(), 1)
    yield from _broken(name, lines, PROSE)


def string_faults(name: str, text: str) -> Iterator[Fault]:
    """Find what a module's strings say against the rules; docstrings are not among them."""
    nodes = list(ast.walk(ast.parse(text)))
    documented = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    said = [
        (node.lineno, node.value)
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in documented
    ]
    yield from _broken(name, said, PROSE)


def _broken(name: str, said: Iterable[tuple[int, str]], rules: Rules) -> Iterator[Fault]:
    for line, one in said:
        for rule, instead in rules:
            if found := rule.search(one):
                yield Fault(place=f"{name}:{line}", said=found[0], instead=instead)


_BLANKED: Final = re.compile(r"^```.*?^```$|<!--.*?-->", re.MULTILINE | re.DOTALL)
_BLOCK: Final = re.compile(r"\n(?:[ \t]*\n)+|\n(?=\s*(?:[-*] |[|#>]|\d+\. ))|(?<!\\)\|")
_ENDED: Final = re.compile(r"(?<=[.?!])[*)_\"]*\s+(?=[*(_\"]*[A-Z])")
_LISTED: Final = re.compile(rf"{_ENDED.pattern}|(?<=;)\s+")


def _sentences(page: str) -> Iterator[tuple[int, str]]:
    """Give each sentence with its line: code is one word, a link is its text."""
    text = _BLANKED.sub(lambda block: "\n" * block[0].count("\n"), page)
    text = re.sub(r"`[^`]*`", lambda code: "Code" + "\n" * code[0].count("\n"), text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for begun, block in _cut(text, _BLOCK):
        for further, said in _cut(block, _LISTED if block.endswith("|") else _ENDED):
            line = text.count("\n", 0, begun + further) + 1
            yield line, " ".join(said.strip(" |*-#>\n").split())


def _cut(text: str, after: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    ends = [0, *(found.end() for found in after.finditer(text)), len(text)]
    return ((begun, text[begun:end]) for begun, end in pairwise(ends))


def every_fault() -> Iterator[Fault]:
    for page in PAGES:
        yield from faults(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"))
    for package in ("monitor", "detectors", "alerts", "driftline"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            yield from docstring_faults(name, path.read_text(encoding="utf-8"))
    for path in SPOKEN:
        name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        match path.suffix:
            case ".html":
                yield from template_faults(name, text)
            case ".py":
                yield from string_faults(name, text)
            case _:
                yield from _broken(name, enumerate(text.splitlines(), 1), PROSE)


if __name__ == "__main__":
    found = [str(fault) for fault in every_fault()]
    print(*found, sep="\n", end="\n" * bool(found))
    sys.exit(bool(found))
