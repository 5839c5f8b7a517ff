"""What ``driftline reference`` says of a reference."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from typer.testing import CliRunner

from monitor.cli.app import app
from monitor.domain import ReferenceState
from monitor.views.reference import ReferenceBody, ReferencesBody
from tests.routed import answering

MADE = ReferenceBody(
    adapter="support",
    version="v7",
    generation=2,
    state=ReferenceState.READY,
    provisional=True,
    approved_by=None,
    cause="first look",
    n_training=500,
    n_baseline=1_599,
    left_out=1,
    span_days=3.0,
    encoder=None,
    strata=(),
    progress=1.0,
    error=None,
    created_at=datetime(2026, 11, 1, tzinfo=UTC),
    ready_at=None,
)


@pytest.mark.parametrize("left_out", [1_234, 0])
def test_lines_of_a_baseline_that_were_left_out_are_counted(
    monkeypatch: pytest.MonkeyPatch, left_out: int
) -> None:
    made = replace(MADE, left_out=left_out)
    body = msgspec.json.encode(
        ReferencesBody(
            adapter="support", version="v7", current=made, seen=None, learning=None, items=[made]
        )
    )
    with answering(lambda *_: (200, body)) as url:
        monkeypatch.setenv("DRIFTLINE_URL", url)
        monkeypatch.setenv("DRIFTLINE_KEY", "dl_k")
        monkeypatch.setenv("COLUMNS", "200")
        done = CliRunner().invoke(app, ["reference", "status", "support", "v7"])
    assert done.exit_code == 0, done.output
    said = "baseline lines left out, also among training: 1,234"
    assert (said in done.output) == bool(left_out)
