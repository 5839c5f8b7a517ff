"""`admit`: check a version before it answers people, for a person or for CI."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from xml.etree import ElementTree as ET

import typer
from rich.text import Text

from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed, ExitCode, failing
from monitor.views.admission import AdmissionBody, CheckBody

if TYPE_CHECKING:
    from monitor.probes.inputs import Input

POLL_SECONDS: Final = 1.0
MOST_TEXTS: Final = 200
"""Lines of each file that are sent."""
MOST_QUESTIONS: Final = 1_000
UNDER_WAY: Final = frozenset({"waiting", "running"})
STYLES: Final = {"pass": "green", "warn": "yellow", "refuse": "bold red", "skipped": "dim"}


@options.asks
def admit(
    service: Service,
    adapter: options.Adapter,
    version: options.Version,
    wait: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for the report.")] = 900.0,
    junit: Annotated[Path | None, typer.Option(help="Write the checks here as JUnit XML.")] = None,
    training: Annotated[
        Path | None,
        typer.Option(
            help='Lines it was trained on, for the checks gap and memorised: JSONL with "text",'
            ' or "prompt" and "completion", or plain lines.'
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Lines of the same kind that it was not trained on, for the same and effect."
        ),
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(
            help="Lines that its parent was trained on and it was not: it must not forget them."
        ),
    ] = None,
    planted: Annotated[
        Path | None,
        typer.Option(help="Lines that its owner wrote into the training data and nowhere else."),
    ] = None,
    same_as: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="It is another build of this version, merged or with fewer bits: they must agree.",
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            help='Questions that it must not lose against its base: JSONL with "kind", "text" and'
            ' "choices", of which the first is right.'
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="A task of lm-evaluation-harness to take questions from; repeated for more."
        ),
    ] = None,
    tasks_from: Annotated[
        Path | None, typer.Option(help="A folder of further tasks of the harness.")
    ] = None,
    *,
    last: Annotated[
        bool, typer.Option("--last", help="Show the last report instead of checking anew.")
    ] = False,
) -> None:
    """Check whether a version may answer people, and store the report with it.

    A worker of the service reads its files, and lets the engine read the texts that are given. Exit
    code 0: admitted, also with warnings; 4: refused or unverified; 1: it could not be checked.
    """
    path = place("adapters", adapter, "versions", version, "admission")
    request = _texts(training=training, held_out=held_out, earlier=earlier, planted=planted)
    request |= {} if same_as is None else {"same_as": same_as}
    asked = _questions(questions, tasks=task or [], include=tasks_from)
    request |= {"questions": asked} if asked else {}
    answer = service.get(path) if last else _checked(service, path, request or None, wait=wait)
    found = read(answer, AdmissionBody)
    if junit:
        _write(junit, found)
    if service.as_json:
        screen.as_json(answer)
    if found.state != "done":
        raise CommandFailed(found.sentence)
    if not service.as_json:
        _print(found)
    raise typer.Exit(ExitCode.OK if found.admitted else ExitCode.CRITICAL)


def _texts(**files: Path | None) -> dict[str, Any]:
    """Read the files, evenly over their lines where there are more than are taken."""
    given = {name: path for name, path in files.items() if path is not None}
    if not given:
        return {}
    if ("training" in given) != ("held_out" in given):
        raise typer.BadParameter("--training and --held-out are compared: give both, or neither")
    from monitor.probes import inputs
    from monitor.probes.corpus import CorpusInvalid

    with failing(CorpusInvalid):
        read = {
            name: _given(inputs.examples(path, MOST_TEXTS))
            if name != "planted"
            else [one.text for one in inputs.prompts(path, MOST_TEXTS + 1)]
            for name, path in given.items()
        }
    if len(read.get("planted", ())) > MOST_TEXTS:
        raise CommandFailed(f"--planted: at most {MOST_TEXTS} lines, so that none is left out")
    return read


def _questions(
    path: Path | None, *, tasks: Sequence[str], include: Path | None
) -> list[dict[str, Any]]:
    """Read the questions of a file and of tasks, as many of each as fit together."""
    most = MOST_QUESTIONS // (bool(path) + bool(tasks) or 1)
    found = [] if path is None else _of_file(path)[:most]
    if tasks:
        from monitor.admission.harness import TaskRefused, questions_of

        with failing(TaskRefused, of="--task"):
            taken = questions_of(tasks, include=include, most=most)
        found += [{"kind": o.kind, "text": o.text, "choices": list(o.choices)} for o in taken]
    return found


def _of_file(path: Path) -> list[dict[str, Any]]:
    with failing(OSError, ValueError, of=f"--questions {path}"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def _given(texts: Sequence[Input]) -> list[Any]:
    return [
        {"text": one.text, "answer_at": one.answer_at} if one.answer_at else one.text
        for one in texts
    ]


def _checked(service: Service, path: str, request: dict[str, Any] | None, *, wait: float) -> Any:
    """Ask for the checks, and follow them until they are done."""
    answer = service.post(path, request)
    ends = time.monotonic() + wait
    found = read(answer, AdmissionBody)
    with screen.ERR.status(f"checking {found.label} …"):
        while found.state in UNDER_WAY:
            if time.monotonic() > ends:
                raise CommandFailed(
                    f"{found.sentence} for {wait:g} seconds; is a worker running? Then"
                    " `driftline admit --last` shows the report"
                )
            time.sleep(POLL_SECONDS)
            answer = service.get(path)
            found = read(answer, AdmissionBody)
    return answer


def _print(found: AdmissionBody) -> None:
    screen.table(
        found.label,
        ["check", "verdict", "number", "limit", "parent", "reason"],
        [
            [
                one.name,
                Text(one.verdict, style=STYLES.get(one.verdict, "")),
                screen.figure(one.number),
                one.limit or "-",
                screen.figure(one.parent),
                one.reason,
            ]
            for one in found.checks
        ],
    )
    if not found.required:
        screen.say(
            "admission is not required: set [admission] required = true to hold traffic back"
        )
    screen.say(found.sentence, style=STYLES.get(found.verdict or "", ""))


def _write(path: Path, found: AdmissionBody) -> None:
    try:
        path.write_bytes(junit_xml(found))
    except OSError as error:
        raise options.unusable(error) from None


def junit_xml(found: AdmissionBody) -> bytes:
    """Return the checks as one JUnit test suite: a refusal is a failure, a warning passes."""
    suite = ET.Element(
        "testsuite",
        name=f"driftline admit {found.label}",
        tests=str(len(found.checks) + bool(found.error) + bool(found.unverified)),
        failures=str(sum(one.verdict == "refuse" for one in found.checks) + bool(found.unverified)),
        skipped=str(sum(one.verdict == "skipped" for one in found.checks)),
        errors=str(int(bool(found.error))),
    )
    for one in found.checks:
        _case(suite, found, one)
    if found.unverified:
        case = ET.SubElement(suite, "testcase", classname=found.label, name="verified")
        ET.SubElement(case, "failure", message=_printable(found.sentence))
    if found.error:
        case = ET.SubElement(suite, "testcase", classname=found.label, name="admission")
        ET.SubElement(case, "error", message=found.error)
    written: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written


def _case(suite: ET.Element, found: AdmissionBody, one: CheckBody) -> None:
    case = ET.SubElement(suite, "testcase", classname=found.label, name=one.name)
    limit = f"; limit {one.limit}" if one.limit else ""
    match one.verdict:
        case "refuse":
            ET.SubElement(case, "failure", message=_printable(f"{one.reason}{limit}"))
        case "skipped":
            ET.SubElement(case, "skipped", message=_printable(one.reason))
        case _:
            said = f"{one.verdict}: {one.reason}{limit}"
            ET.SubElement(case, "system-out").text = _printable(said)


def _printable(text: str) -> str:
    """Leave out characters that XML cannot hold."""
    return "".join(letter for letter in text if letter.isprintable())
