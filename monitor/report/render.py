"""Draw one report: ``python -m monitor.report.render FOLDER``.

Reads ``tables.npz`` of the folder and writes ``report.html``, ``snapshot.json`` and, meanwhile,
``progress``. Started with ``DO_NOT_TRACK`` set, which Evidently reads when it is imported.
Evidently's page contains its own script, styles and fonts; a content security policy is added that
forbids it to load anything else.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from monitor.report import tables
from monitor.report.tables import Tables

POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline';"
    " font-src data:; img-src data: blob:; worker-src blob:"
)
_NOTICE_STYLE: Final = (
    "margin:16px;padding:12px 16px;border-left:4px solid #b45309;background:#fffbeb;"
    "color:#1f2937;font:14px/1.5 system-ui,sans-serif"
)


class PageUnknown(Exception):  # noqa: N818 - it is what is wrong
    """Evidently's page has no place for the notice: another release writes other HTML."""


def render(found: Tables, folder: Path) -> Iterator[float]:
    """Write the page and the snapshot; yield the share that is done, in [0, 1]."""
    # the import takes 2.6 s and 270 MB, and must not happen where the service runs
    from evidently import Report
    from evidently.presets import DataDriftPreset, TextEvals

    yield 0.4
    reference, described = _frame(found.reference, found.texts.reference)
    window, _ = _frame(found.window, found.texts.window)
    parts: list[Any] = [DataDriftPreset(columns=list(window))]
    if described:
        parts.append(TextEvals(columns=described))
    run = Report(parts).run(
        _dataset(window, found.rates), _dataset(reference, found.rates), name=found.name
    )
    yield 0.7
    page = with_notice(run.get_html_str(as_iframe=False), found.notice)
    (folder / "report.html").write_text(page, encoding="utf-8")
    yield 0.9
    (folder / "snapshot.json").write_text(run.dumps(), encoding="utf-8")


def with_notice(page: str, lines: Sequence[str]) -> str:
    """Put the policy into a page's head, and the escaped notice at the top of its body."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    notice = f'<aside style="{_NOTICE_STYLE}">{paragraphs}</aside>'
    return _after("<body>", notice, _after("<head>", policy, page))


def _after(tag: str, addition: str, page: str) -> str:
    before, found, rest = page.partition(tag)
    if not found:
        raise PageUnknown(f"Evidently's page has no {tag}")
    return f"{before}{found}{addition}{rest}"


def _frame(
    columns: Mapping[str, Any], texts: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], list[str]]:
    """Return the signals with what Evidently's descriptors say of the texts, and their names."""
    described = {
        name: values for field, said in texts.items() for name, values in _described(field, said)
    }
    return {**columns, **described}, list(described)


def _described(field: str, texts: Sequence[str]) -> Iterator[tuple[str, Any]]:
    import pandas as pd
    from evidently import DataDefinition, Dataset
    from evidently.descriptors import (
        NonLetterCharacterPercentage,
        SentenceCount,
        TextLength,
        WordCount,
    )

    wanted = {
        f"{field}: length": TextLength,
        f"{field}: words": WordCount,
        f"{field}: sentences": SentenceCount,
        f"{field}: % no letters": NonLetterCharacterPercentage,
    }
    described = Dataset.from_pandas(
        pd.DataFrame({field: texts}),
        DataDefinition(text_columns=[field]),
        descriptors=[make(field, alias=name) for name, make in wanted.items()],
    ).as_dataframe()
    for name in wanted:
        yield name, described[name].to_numpy(dtype=float)


def _dataset(columns: Mapping[str, Any], rates: Sequence[str]) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset

    frame = pd.DataFrame({name: pd.Series(column) for name, column in columns.items()})
    for name in rates:
        frame[name] = frame[name].map({0.0: "no", 1.0: "yes"})
    numbers = [name for name in columns if name not in rates]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=list(rates))
    return Dataset.from_pandas(frame, definition)


if __name__ == "__main__":
    given = Path(sys.argv[1])
    for done in render(tables.load(given / "tables.npz"), given):
        (given / "progress").write_text(str(done))
