"""A self-test by command: the service's worker does it while the command waits."""

import json

from monitor.cli.selftest import _kept
from tests.cli.command import failed
from tests.cli.conftest import QUIET, Run


def test_a_self_test_is_run_shown_and_kept(run: Run) -> None:
    failed(run("selftest", QUIET, "--last"), "quiet was not tested yet")
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
    failed(run("selftest", "nobody"), "No adapter is called 'nobody'.")


def test_more_alarms_than_promised_are_another_exit_code() -> None:
    alarms = {"kept": False}
    assert not _kept({"false_alarms": {"notice": alarms, "page": None}})
    assert _kept({"false_alarms": {"notice": {"kept": True}, "page": None}})
