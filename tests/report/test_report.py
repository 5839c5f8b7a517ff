import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli.app import app
from monitor.report import Built, ReportError, ReportSpan, build_report
from monitor.report.render import PageUnknown, with_notice
from tests.report.conftest import END, OTHER_STRATUM, SPAN, Watched

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def build(
    watched: Watched, out: Path, *, version: str | None = None, span: ReportSpan = SPAN
) -> Built:
    return build_report(watched.database, "support", version=version, span=span, out=out)


def test_a_shifted_signal_is_shown_as_drifting_and_the_page_says_whose_test_it_is(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    out.write_text("an older report")
    built = build(frozen(shift=2.0), out)
    assert built == Built(
        path=out, version="support@v7", generation=1,
        signals=("mean_nll", "p95_nll", "near_certain", "entropy"), left_out=(),
        n_window=600, n_reference=1_500,
    )  # fmt: skip
    page = out.read_text(encoding="utf-8")
    # Evidently's own words: one of the columns drifts by its default test. Another may by chance,
    # as its baseline lies at this hour's place in the week.
    assert re.search(r"Drift is detected for (25|50)(\.\d+)?% of columns \([12] out of 4\)", page)
    assert "do not follow Driftline" in page
    assert "support@v7: records of" in page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_draws_itself_in_a_browser_and_asks_the_network_for_nothing(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    out = tmp_path / "report.html"
    build(frozen(), out)
    asked: list[str] = []
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(out.as_uri())
        page.get_by_text("mean_nll").first.wait_for(timeout=30_000)
        drawn = page.inner_text("body")
        browser.close()
    assert "Evidently's own" in drawn
    assert "near_certain" in drawn
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [text for text in complaints if "Content Security Policy" in text] == []


def test_a_signal_that_no_record_measured_is_left_out_and_named(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    built = build(frozen(without=("entropy",)), out)
    assert built.left_out == ("entropy",)
    assert "entropy" not in built.signals
    assert "Not measured in these records: entropy." in out.read_text(encoding="utf-8")


def test_records_of_other_settings_are_not_compared(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = frozen(n=100)
    watched.record(50, context=OTHER_STRATUM)
    assert build(watched, tmp_path / "report.html").n_window == 100


def test_the_span_leaves_out_its_end_and_what_was_before_it(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = frozen(n=120)  # one a minute
    middle = ReportSpan(
        start=SPAN.start + (END - SPAN.start) / 4, end=SPAN.start + (END - SPAN.start) / 2
    )
    assert build(watched, tmp_path / "report.html", span=middle).n_window == 30


def test_what_is_missing_is_said(watched: Watched, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    with pytest.raises(ReportError, match="billing is not registered"):
        build_report(watched.database, "billing", version=None, span=SPAN, out=out)
    with pytest.raises(ReportError, match="support@v8 is not registered"):
        build(watched, out, version="v8")
    with pytest.raises(ReportError, match="support@v7 has no ready reference"):
        build(watched, out)
    watched.freeze()
    with pytest.raises(ReportError, match="support@v7 has no records of its reference's settings"):
        build(watched, out)
    watched.record(20, without=("mean_nll", "p95_nll", "near_certain", "entropy"))
    with pytest.raises(ReportError, match="no signal of its reference was measured"):
        build(watched, out)
    assert list(tmp_path.iterdir()) == []


def test_names_cannot_put_markup_into_the_page() -> None:
    page = with_notice("<html><head></head><body></body></html>", ["<script>alert(1)</script>"])
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.index("Content-Security-Policy") < page.index("</head>")


def test_a_page_without_a_place_for_the_notice_is_refused() -> None:
    with pytest.raises(PageUnknown, match="<head>"):
        with_notice("<html></html>", ["said"])


def test_the_command_needs_the_database_only(
    frozen: Callable[..., Watched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = frozen()
    url = watched.database.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DRIFTLINE_DATABASE__URL", url)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", "support", "--out", str(out), "--hours", "3"])
    assert done.exit_code == 0, done.output
    assert "support@v7 against reference generation 1, 4 signals, 600 records" in " ".join(
        done.output.split()
    )
    assert out.stat().st_size > 1_000_000


def test_evidently_is_not_loaded_by_the_modules_that_the_service_imports() -> None:
    script = (
        "import sys, monitor.report, monitor.cli.report, monitor.report.render;"
        "sys.exit('evidently' in sys.modules or 'pandas' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
