"""Draw one report: ``python -m monitor.report.render TABLES.npz PAGE.html``.

Started with ``DO_NOT_TRACK`` set, which Evidently reads when it is imported. Evidently's page
contains its own script, styles and fonts; a content security policy is added that forbids it to
load anything else.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from monitor.report import tables
from monitor.report.tables import Floats

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


def render(found: tables.Tables) -> str:
    """Return the page as HTML, including notice and policy."""
    # the import takes 2.6 s and 270 MB, and must not happen where the service runs
    from evidently import Report
    from evidently.presets import DataDriftPreset

    preset = DataDriftPreset(columns=list(found.window))
    run = Report([preset]).run(_dataset(found.window), _dataset(found.reference))
    return with_notice(run.get_html_str(as_iframe=False), found.notice)


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


def _dataset(columns: Mapping[str, Floats]) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset

    frame = pd.DataFrame({name: pd.Series(column) for name, column in columns.items()})
    return Dataset.from_pandas(frame, DataDefinition(numerical_columns=list(columns)))


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(render(tables.load(Path(sys.argv[1]))), encoding="utf-8")
