"""A self-test by command: the service's worker does it while the command waits."""

import json
from dataclasses import replace

import pytest

from monitor.cli.selftest import _kept
from monitor.views.selftest import FalseAlarmsBody, ProcessesBody
from tests.cli.command import failed
from tests.cli.conftest import QUIET, Run
from tests.service import Service


def test_it_waits_for_the_worker_and_says_why_there_is_no_report(
    run: Run, service: Service
) -> None:
    service.register("bare", "v1")
    failed(run("selftest", "bare", "--last"), "bare was not tested yet")
    failed(run("selftest", "bare"), "it has no reference yet: there is nothing to replay")
    failed(run("selftest", "nobody"), "No adapter is called 'nobody'.")


@pytest.mark.slow
def test_a_self_test_is_run_shown_and_kept(run: Run) -> None:
    ran = run("selftest", QUIET)
    assert ran.code == 0
    assert "mean NLL +1 sd in every answer" in ran.out
    assert "promised 1: kept" in ran.out
    assert "feedback was not tested" not in ran.out
    last = run("selftest", QUIET, "--last", "--json")
    report = json.loads(last.out)["report"]
    assert report["baseline"]["records"] == 1_000
    largest = next(one for one in report["injections"] if one["name"] == "shift_1")
    assert largest["notice"]["within_week"]["share"] > 0.9


def test_more_alarms_than_promised_are_another_exit_code() -> None:
    broken = FalseAlarmsBody(
        alarms=9, months=1.0, per_30_days=9.0, interval=(4.1, 17.1), promised=1.0, kept=False
    )
    assert not _kept(ProcessesBody(notice=broken, page=None))
    assert _kept(ProcessesBody(notice=replace(broken, kept=True), page=None))
