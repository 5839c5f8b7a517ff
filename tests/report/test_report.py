import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from examples.demo.processes import free_port
from monitor.cli.app import app
from monitor.domain import Interval
from monitor.report.building import Built, build_report
from monitor.report.errors import ReportError
from monitor.report.job import Reports
from monitor.report.render import PageUnknown, with_notice
from monitor.store.evaluation import reports
from monitor.store.evaluation.reports import ReportRow, ReportState
from tests.browser import chromium
from tests.report.conftest import END, OTHER_STRATUM, SPAN, Watched


def build(watched: Watched, *, span: Interval = SPAN) -> Built:
    return build_report(watched.database, watched.version, span=span)


def page_of(built: Built) -> str:
    return gzip.decompress(built.drawn.page).decode()


def test_a_shifted_signal_is_shown_as_drifting_and_the_page_says_whose_test_it_is(
    frozen: Callable[..., Watched],
) -> None:
    shares: list[float] = []

    def go_on(share: float) -> bool:
        shares.append(share)
        return True

    watched = frozen(shift=2.0)
    built = build_report(
        watched.database,
        watched.version,
        span=SPAN,
        go_on=go_on,
    )
    assert (built.version, built.facts) == (
        "support@v7",
        {
            "generation": 1, "signals": ("mean_nll", "p95_nll", "near_certain", "entropy"),
            "rates": (), "texts": (), "left_out": (), "n_window": 600, "n_reference": 1_500,
        },
    )  # fmt: skip
    assert shares == sorted(shares)
    page = page_of(built)
    # Evidently's own words: one of the columns drifts by its default test. Another may by chance,
    # as its baseline lies at this hour's place in the week.
    assert re.search(r"Drift is detected for (25|50)(\.\d+)?% of columns \([12] out of 4\)", page)
    assert "do not follow Driftline" in page
    assert "support@v7: records of" in page
    assert "Texts are not described" in page


def test_rates_and_texts_are_in_it_where_the_reference_keeps_them(
    frozen: Callable[..., Watched],
) -> None:
    watched = frozen(shift=0.5)
    watched.keep()
    built = build(watched)
    assert built.rates == ("loop", "refusal")
    assert built.texts == ("prompt", "answer")
    page = page_of(built)
    for name in ("refusal", "prompt: words", "answer: length"):
        assert name in page
    for secret in (page, gzip.decompress(built.drawn.snapshot).decode()):
        assert "never in a report" not in secret


def test_evidentlys_own_ui_service_shows_the_snapshot(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = frozen(shift=2.0)
    watched.keep()
    (tmp_path / "snapshot.json").write_bytes(gzip.decompress(build(watched).drawn.snapshot))
    # in a process of its own: Evidently's imports warn, and stay
    script = """
import sys
from evidently.core.report import Snapshot
from evidently.ui.workspace import Workspace
place = Workspace.create(sys.argv[1] + "/workspace")
project = place.create_project("support")
place.add_run(project.id, Snapshot.load(sys.argv[1] + "/snapshot.json"))
print(project.id)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=QUIET, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    project = ran.stdout.split()[-1]
    with ui_service(tmp_path / "workspace") as ask:
        (run,) = ask(f"/api/projects/{project}/reports")
        assert run["name"].startswith("support@v7, ")
        shown = ask(f"/api/projects/{project}/{run['id']}/data")
    assert "Dataset Drift is detected" in json.dumps(shown["widgets"])


QUIET = {**os.environ, "DO_NOT_TRACK": "1"}


@contextmanager
def ui_service(workspace: Path) -> Iterator[Callable[[str], Any]]:
    """Run Evidently's own service over a workspace; yields a function that gets a path of it."""
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("evidently")),
        "ui",
        "--workspace",
        str(workspace),
    ]
    service = subprocess.Popen(
        [*command, "--port", str(port)], env=QUIET,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        try:
            while service.poll() is None:
                with suppress(httpx2.TransportError):
                    client.get("/api/version").raise_for_status()
                    break
                time.sleep(0.2)
            yield lambda path: client.get(path).raise_for_status().json()
        finally:
            service.terminate()
            service.wait()


def test_a_worker_draws_what_was_asked_for_and_says_why_it_cannot(
    frozen: Callable[..., Watched],
) -> None:
    watched = frozen()
    run = watched.database.run
    jobs = Reports(database=watched.database)
    assert not jobs.turn()
    before = Interval(start=SPAN.start - timedelta(days=2), end=SPAN.start - timedelta(days=1))
    first, second = (
        run(partial(reports.ask, version_id=watched.version.id, span=span))
        for span in (SPAN, before)
    )
    assert run(lambda tx: reports.ask(tx, watched.version.id, SPAN)) == first
    stopped = Reports(database=watched.database, stopped=lambda: True)
    assert not stopped.turn()
    assert {one.state for one in _kept(watched)} == {ReportState.WAITING}
    assert jobs.turn()
    assert jobs.turn()
    found = {one.id: one for one in _kept(watched)}
    assert found[first].state is ReportState.DONE
    assert found[first].facts is not None
    assert found[second].state is ReportState.FAILED
    assert "no records of its reference's settings" in (found[second].error or "")
    assert run(lambda tx: reports.ask(tx, watched.version.id, before)) == second
    again = run(lambda tx: reports.fetch(tx, watched.version.id, second))
    assert again is not None
    assert again.state == "waiting"
    later = datetime.now(tz=UTC) + reports.KEPT
    assert run(lambda tx: reports.drop_older(tx, than=later)) == 2


def test_few_reports_of_a_version_are_kept(watched: Watched) -> None:
    for hours in range(2, reports.MOST + 5):
        span = Interval(start=SPAN.end - timedelta(hours=hours), end=SPAN.end)
        watched.database.run(partial(reports.ask, version_id=watched.version.id, span=span))
    kept = _kept(watched)
    assert len(kept) == reports.MOST
    assert kept[0].span.start == SPAN.end - timedelta(hours=reports.MOST + 4)


def _kept(watched: Watched) -> list[ReportRow]:
    return watched.database.run(lambda tx: reports.newest(tx, watched.version.id))


def test_the_page_draws_itself_in_a_browser_and_asks_the_network_for_nothing(
    frozen: Callable[..., Watched], tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    out.write_text(page_of(build(frozen())), encoding="utf-8")
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as driver, chromium(driver) as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(out.as_uri())
        page.get_by_text("mean_nll").first.wait_for(timeout=30_000)
        drawn = page.inner_text("body")
    assert "Evidently's own" in drawn
    assert "near_certain" in drawn
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [text for text in complaints if "Content Security Policy" in text] == []


def test_a_signal_that_no_record_measured_is_left_out_and_named(
    frozen: Callable[..., Watched],
) -> None:
    built = build(frozen(without=("entropy",)))
    assert built.left_out == ("entropy",)
    assert "entropy" not in built.signals
    assert "Not measured in these records: entropy." in page_of(built)


def test_only_records_of_its_settings_within_the_span_without_its_end_are_compared(
    frozen: Callable[..., Watched],
) -> None:
    watched = frozen(n=120)  # one a minute
    watched.record(120, context=OTHER_STRATUM)
    middle = Interval(
        start=SPAN.start + (END - SPAN.start) / 4, end=SPAN.start + (END - SPAN.start) / 2
    )
    assert build(watched, span=middle).n_window == 30


def test_what_is_missing_is_said(watched: Watched) -> None:
    with pytest.raises(ReportError, match="support@v7 has no ready reference"):
        build(watched)
    watched.freeze()
    with pytest.raises(ReportError, match="support@v7 has no records of its reference's settings"):
        build(watched)
    watched.record(20, without=("mean_nll", "p95_nll", "near_certain", "entropy"))
    with pytest.raises(ReportError, match="no signal of its reference was measured"):
        build(watched)


def test_without_its_extra_a_report_says_what_to_install(
    frozen: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = frozen()
    watched.database.run(partial(reports.ask, version_id=watched.version.id, span=SPAN))
    monkeypatch.setitem(sys.modules, "evidently", None)  # as where it is not installed
    said = "evidently is not installed: pip install 'driftline[report]'"
    with pytest.raises(ReportError, match=f"^{re.escape(said)}$"):
        build(watched)
    assert Reports(database=watched.database).turn()
    [kept] = _kept(watched)
    assert (kept.state, kept.error) == (ReportState.FAILED, said)


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
    snapshot = tmp_path / "snapshot.json"
    asked = ["report", "support", "--out", str(out), "--hours", "3"]
    done = CliRunner().invoke(app, [*asked, "--snapshot", str(snapshot)])
    assert done.exit_code == 0, done.output
    assert "support@v7 against reference generation 1, 4 signals, 600 records" in " ".join(
        done.output.split()
    )
    assert out.stat().st_size > 1_000_000
    assert json.loads(snapshot.read_text())["metric_results"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "snapshot.json"]
    for name, of in (("billing", []), ("support", ["--version", "v8"])):
        refused = CliRunner().invoke(app, ["report", name, "--out", str(out), *of])
        assert refused.exit_code == 1
        assert "is not registered" in str(refused.exception)


def test_evidently_is_not_loaded_by_the_modules_that_the_service_imports() -> None:
    script = (
        "import sys, monitor.report, monitor.cli.report, monitor.report.render;"
        "sys.exit('evidently' in sys.modules or 'pandas' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
