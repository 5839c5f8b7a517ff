"""Every command that speaks to a service, against a real one."""

import json
import re
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.cli.command import driftline, failed
from tests.cli.conftest import BROKEN, DRIFTS, HOSTILE, QUIET, Run
from tests.service import Service, baseline, ndjson, until

# --- how adapters are ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "verdict", "code"),
    [(QUIET, "stable", 0), (DRIFTS, "drifting", 3), (BROKEN, "critical", 4)],
)
def test_the_exit_code_is_the_verdict(run: Run, adapter: str, verdict: str, code: int) -> None:
    shown, evaluated = run("status", adapter), run("evaluate", adapter)
    assert (shown.code, evaluated.code) == (code, code)
    for ran in (shown, evaluated):
        assert f"{adapter}: {verdict}" in ran.out
        assert "certainty of answers" in ran.out
        assert "logit_ks" not in ran.out
        assert "beyond its alert threshold" not in ran.out
        assert ran.err == ""


def test_the_fleet_is_shown_worst_first(run: Run) -> None:
    ran = run("status")
    assert ran.code == 4
    places = [ran.out.index(f"\n{adapter} ") for adapter in (BROKEN, DRIFTS, QUIET)]
    assert places == sorted(places)
    assert "ready, provisional (generation 1)" in run("status", DRIFTS).out
    assert "ready, approved (generation 1)" in run("status", QUIET).out


def test_a_verdict_is_never_shown_without_what_was_compared(run: Run) -> None:
    fleet, one, evaluated = run("status"), run("status", QUIET), run("evaluate", QUIET)
    assert "compared" in fleet.out
    [row] = [line for line in fleet.out.splitlines() if line.startswith(f"{QUIET} ")]
    assert "100%" in row
    assert "compared of the newest requests" in one.out
    shown = one.out.partition("compared of the newest requests")[2]
    [line] = [line for line in shown.splitlines() if line.startswith("certainty of answers ")]
    assert "100%" in line
    # nothing came since the last window
    assert "no request to compare yet" in evaluated.out


def test_json_is_the_services_own(run: Run, service: Service) -> None:
    ran = run("status", QUIET, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["route"] == service.get(f"/v1/adapters/{QUIET}")["route"]
    assert json.loads(run("status", "--json").out)["items"][0]["adapter"] == BROKEN


def test_an_unknown_adapter_is_named(run: Run) -> None:
    failed(run("status", "nobody"), "Not Found: No adapter is called 'nobody'.")
    failed(run("evaluate", "nobody"), "No adapter is called 'nobody'.")


def test_a_wrong_wait_is_told_by_its_name(run: Run) -> None:
    failed(run("evaluate", QUIET, "--wait", "-1"), "wait:")


def test_an_evaluation_that_takes_longer_is_no_failure(run: Run) -> None:
    ran = run("evaluate", QUIET, "--wait", "0")
    assert ran.code == 0
    assert "not done in time" in ran.out


def test_a_wrong_key_is_refused_in_words(service: Service, tmp_path: Path) -> None:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": "dl_wrong"}
    failed(driftline("status", environ=told, cwd=tmp_path), "Unauthorized: The key is unknown")


def test_the_budget_is_divided_over_what_each_reference_measured(run: Run) -> None:
    ran = run("budget", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    items = found["items"]
    assert sum(item["pages_per_30_days"] for item in items) == pytest.approx(1)
    # no logprobs of others came and no texts were embedded: these take nothing
    assert {i["pages_per_30_days"] for i in items if i["detector"] == "entropy"} == {0.0}
    blind = [item["blind"] is not None for item in items]
    assert blind == sorted(blind, reverse=True)
    [seeing] = [i for i in items if (i["adapter"], i["detector"]) == (QUIET, "logit_ks")]
    assert seeing["requests_per_day"] > 0
    delays = seeing["delays"]
    assert delays["one_sd"]["page"]["hours"] <= delays["half_sd"]["page"]["hours"]
    assert delays["half_sd"]["notice"]["hours"] <= delays["half_sd"]["page"]["hours"]


def test_the_budget_has_a_row_for_each_version_and_every_check_of_one_adapter(run: Run) -> None:
    ran = run("budget")
    assert ran.code == 0
    assert "1 false pages for the fleet" in ran.out
    assert "standard 0.333 each (3)" in ran.out
    assert [ran.out.count(f"{one}@v1 ") for one in (QUIET, DRIFTS, BROKEN)] == [1, 1, 1]
    assert re.search(rf"\n{QUIET}@v1 .*: 5 % bad requests seen after [\d.]+ (min|h|d)\n", ran.out)
    assert re.search(r"\n  \d+ of \d+ checks are blind: .*never measured what", ran.out)
    assert "logit_ks" not in ran.out
    one = run("budget", QUIET)
    assert "certainty of answers" in one.out
    assert "how soon a ticket" in one.out
    assert "how soon a page" in one.out
    assert DRIFTS not in one.out
    failed(run("budget", "nobody"), "No adapter is called 'nobody'.")


def test_the_smallest_faults_that_would_be_seen_are_planned(run: Run) -> None:
    told = json.loads(run("plan", QUIET, "--json").out)
    [less] = [one for one in told["items"] if one["fault"].startswith("all answers less certain")]
    ran = run("plan", QUIET)
    assert ran.code == 0
    assert f"{QUIET}: the smallest fault that opens a ticket within" in ran.out
    assert f"{QUIET}: the smallest fault that opens a page within" in ran.out
    assert less["ticket"]["week"]["text"] in ran.out
    assert "at least 80% are seen in time" in ran.out
    assert run("plan", QUIET, "--version", less["version"]).code == 0
    failed(run("plan", QUIET, "--version", "v99"), "has no version 'v99'")
    failed(run("plan", "nobody"), "No adapter is called 'nobody'.")


def test_a_canary_is_planned(run: Run) -> None:
    traffic = ("--requests-per-day", "20000")
    ran = run("canary", "plan", QUIET, *traffic, "--guardrails", "4")
    assert (ran.code, ran.err) == (0, "")
    assert "20,000 requests a day (as you say)" in ran.out
    assert "* 5% for 39.0 h: the smallest share in 3 days" in ran.out
    as_judged = run("canary", "plan", QUIET, *traffic, "--json")
    assert json.loads(as_judged.out)["guardrails"] == 8, "six signals share .8 of alpha"
    never = run("canary", "plan", QUIET, "--requests-per-day", "300")
    assert "no share of this traffic brings a verdict in 3 days" in never.out
    refused = run("canary", "plan", QUIET, "--drop", "4", "--requests-per-day", "300")
    failed(refused, "drop must be above 0.05")


def test_what_it_would_have_done_is_told(run: Run) -> None:
    ran = run("actions", QUIET, "--days", "3")
    assert (ran.code, ran.err) == (0, "")
    said, step = ran.out.strip().split("\n")
    assert said == f"{QUIET}: would not have acted in 3 days"
    assert "driftline incident list" in step
    done = run("actions", BROKEN)
    for word in ("newest first", "fallback", "blocked", "driftline", "would not have acted"):
        assert word in done.out
    assert json.loads(run("actions", BROKEN, "--json").out)["moves"][0]["kind"] == "fallback"
    failed(run("actions", "unknown"), "unknown")


# --- incidents ----------------------------------------------------------------------------


def test_an_incident_is_explained(run: Run, service: Service) -> None:
    [found] = service.get("/v1/incidents", adapter=BROKEN, open="true")["items"]
    ran = run("explain", str(found["incident"]))
    assert ran.code == 0
    assert found["summary"] in ran.out
    for word in (BROKEN, "drift", "page", "on-call", "Driftline moved no traffic"):
        assert word in " ".join(ran.out.split())
    told = json.loads(run("explain", str(found["incident"]), "--json").out)
    assert told["incident"] == found["incident"]
    assert {action["state"] for action in told["actions"]} == {"blocked"}
    above, _, details = ran.out.partition("\ndetails: ")
    assert "alert threshold" not in above
    assert "acts from" in details
    assert "silenced" not in ran.out
    number = run("silence", "add", f"adapter={BROKEN}", "-m", "a test").out.strip()
    assert f"silenced (silence {number})" in run("explain", str(found["incident"])).out
    assert run("silence", "expire", number).code == 0


def test_no_numbers_of_a_verdict_stand_in_reasons(run: Run) -> None:
    for words in (["status"], ["status", BROKEN], ["route", "show", BROKEN], ["actions"]):
        assert "alert threshold" not in run(*words).out, words
    past = run("route", "history", BROKEN).out
    assert "alert threshold" not in past


def test_incidents_are_narrowed_by_what_is_asked(run: Run) -> None:
    shown = run("incident", "list", "--state", "open", "--severity", "page", "--order", "severity")
    assert shown.code == 0
    assert "pages first" in shown.out
    assert f"{BROKEN}@" in shown.out
    assert f"{DRIFTS}@" not in shown.out
    none = run("incident", "list", "--state", "resolved", "--owner", "nobody")
    assert none.out == "no incident matches; `driftline incident list` shows all\n"
    failed(run("incident", "list", "--state", "shut"), "open")


def test_its_message_leads_to_runbooks_and_a_chart_that_the_service_shows(service: Service) -> None:
    assert service.inbox is not None
    told = [message.alert for message in service.inbox.messages if message.alert["firing"]]
    links = next(alert["links"] for alert in told if alert["adapter"] == BROKEN)
    for name in ("runbook", "detector_runbook"):
        assert "Look first" in httpx2.get(links[name], trust_env=False).text
    chart = httpx2.get(links["chart"], trust_env=False)  # signed by the worker, drawn by the API
    assert (chart.status_code, chart.text[:4]) == (200, "<svg")


def test_an_unknown_incident_is_named(run: Run) -> None:
    failed(run("explain", "999999"), "There is no incident 999999.")


# --- channels ------------------------------------------------------------------------------


def test_a_channel_is_shown_and_tried(run: Run, service: Service) -> None:
    assert "on-call" in run("channels", "list").out
    ran = run("channels", "test", "on-call")
    assert ran.code == 0, ran
    assert ran.out.count("nothing happened") == 2
    assert service.inbox is not None
    said = [message.alert for message in service.inbox.messages if message.alert["test"]]
    assert [(alert["status"], alert["severity"]) for alert in said] == [
        ("started", "ticket"),
        ("recovered", "ticket"),
    ]
    failed(run("channels", "test", "nowhere"), "No channel is named 'nowhere'.")


def test_a_dead_letter_is_shown_and_sent_again(run: Run, service: Service) -> None:
    assert service.inbox is not None
    service.inbox.down()
    try:
        failed(run("channels", "test", "on-call"), "has not taken the test")
    finally:
        service.inbox.up()
    [dead] = json.loads(run("deliveries", "list", "--state", "dead", "--json").out)["items"]
    assert dead["delivery"] in run("deliveries", "list", "--state", "dead").out
    with service.stored() as tx:  # and two that were told together
        tx.execute(
            "INSERT INTO outbox (id, channel, alert, state, batch)"
            " SELECT gen_random_uuid(), channel, alert, state, %s"
            " FROM outbox, generate_series(1, 2) WHERE id = %s",
            (uuid4(), dead["delivery"]),
        )
    ran = run("deliveries", "replay", "--all")
    assert (ran.code, ran.out.count("is queued again")) == (0, 2), ran
    until(lambda: service.get("/v1/deliveries", state="dead")["items"] == [], "sent again")
    failed(run("deliveries", "replay"), "by their ids")
    failed(run("deliveries", "replay", dead["delivery"]), "only dead ones are replayed")


def test_a_silence_is_set_shown_and_ended(run: Run) -> None:
    made = run("silence", "add", "adapter=nobody,else", "team=x", "-m", "a test", "--hours", "1")
    assert made.code == 0, made
    number = made.out.strip()
    listed = run("silence", "list").out
    assert "adapter else or nobody; team x" in listed
    assert "a test" in listed
    assert run("silence", "expire", number).code == 0
    assert "nothing is silenced" in run("silence", "list").out
    assert number in run("silence", "list", "--over").out
    failed(run("silence", "expire", number), f"Silence {number} is over already.")
    failed(run("silence", "add", "everything", "-m", "a test"), "no NAME=VALUE")


# --- references ---------------------------------------------------------------------------


def test_a_reference_is_built_shown_and_approved(
    run: Run, service: Service, tmp_path: Path
) -> None:
    service.register("fresh", "v1")
    file = tmp_path / "reference.ndjson"
    file.write_bytes(ndjson(baseline(400, days=1.0)))
    built = run("reference", "build", "fresh", "v1", str(file), "--cause", "first look")
    assert (built.code, built.out) == (0, "generation 1 is ready (provisional)\n")
    shown = run("reference", "status", "fresh", "v1")
    for word in ("ready", "provisional", "400", "first look"):
        assert word in shown.out
    assert run("reference", "approve", "fresh", "v1", "1").code == 0
    assert "provisional" not in run("reference", "status", "fresh", "v1").out
    failed(run("reference", "approve", "fresh", "v1", "1"), "only a ready, unapproved one")
    failed(run("reference", "approve", "fresh", "v1", "9"), "no reference of generation 9")


def test_a_wrong_reference_is_told_line_by_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "reference.ndjson"
    file.write_text('{"role": "baseline"}\n{"role": "chorus"}\nnot json\n')
    ran = run("reference", "build", QUIET, "v1", str(file))
    failed(ran, "nothing was kept", "line 1:", "line 2: role: must be", "line 3: not JSON")


def test_a_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "nowhere.ndjson"
    failed(run("reference", "build", QUIET, "v1", str(file)), str(file))


def test_a_window_without_records_is_no_reference(run: Run) -> None:
    ran = run("reference", "freeze", QUIET, "v1", "--start", "2020-01-01", "--end", "2020-01-02")
    failed(ran, "the reference failed: no baseline records")


def test_a_window_that_runs_backwards_is_refused(run: Run) -> None:
    ran = run("reference", "freeze", QUIET, "v1", "--start", "2020-01-02", "--end", "2020-01-01")
    failed(ran, "end must lie after start")


# --- keys ---------------------------------------------------------------------------------


def test_a_key_is_made_used_listed_and_revoked(
    alone: Run, service: Service, tmp_path: Path
) -> None:
    made = alone("keys", "create", "reader", "--scope", "read", "--days", "7")
    text = made.out.strip()
    assert made.code == 0
    assert text.startswith("dl_")
    assert "shown this once" in made.err
    assert text not in made.err
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": text}
    assert driftline("status", QUIET, environ=told, cwd=tmp_path).code == 0
    failed(driftline("evaluate", QUIET, environ=told, cwd=tmp_path), "scope 'operate'")
    key_id = text.split("_")[1]
    listed = alone("keys", "list").out
    assert key_id in listed
    assert text.split("_", 2)[2] not in listed
    assert alone("keys", "revoke", key_id).out == f"revoked {key_id}\n"
    failed(alone("keys", "revoke", key_id), "that is not revoked already")


def test_a_senders_key_is_bound_to_adapters(alone: Run) -> None:
    bound = ["--match", "adapter=support", "--match", "adapter=tax", "--match", "team=care"]
    made = alone("keys", "create", "sender", "--scope", "ingest", *bound)
    key_id = made.out.split("_")[1]
    listed = alone("keys", "list").out
    assert key_id in listed
    assert all(one in listed for one in bound[1::2])
    both = ("keys", "create", "sender", "--scope", "ingest", "--scope", "admin")
    failed(alone(*both, *bound), "that may administer")
    limited = ("keys", "create", "x", "--scope", "read", "--per-minute", "5")
    failed(alone(*limited), "only a key that may ask")
    failed(alone("keys", "create", "x", "--scope", "ingest", "--match", "tax"), "write KEY=VALUE")


def test_a_key_of_a_secret_store_is_taken_over_once(
    alone: Run, service: Service, tmp_path: Path
) -> None:
    text = f"dl_0123456789ab_{'x' * 43}"
    file = tmp_path / "gateway.key"
    file.write_text(f"{text}\n")
    words = ("keys", "create", "gateway", "--scope", "read", "--from-file", str(file))
    for _ in range(2):
        made = alone(*words)
        assert (made.code, made.out) == (0, "")
        assert text not in made.err
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": text}
    assert driftline("status", QUIET, environ=told, cwd=tmp_path).code == 0
    assert alone("keys", "list").out.count("0123456789ab") == 1
    failed(alone(*words, "--scope", "ingest"), "or has other scopes")
    for wrong in (text[:-1], ""):
        file.write_text(wrong)
        failed(alone(*words), "a key is dl_, 12 hex digits")
    failed(alone(*words[:-1], "nowhere"), "cannot read nowhere")


@pytest.mark.parametrize("name", ["", "x" * 129, "two\nlines", "\x1b[31m"])
def test_a_key_has_a_name_that_can_be_shown(alone: Run, name: str) -> None:
    failed(alone("keys", "create", name, "--scope", "read"), "1 to 128 printable characters")


def test_the_schema_is_at_head_beside_a_running_service(alone: Run) -> None:
    ran = alone("migrate")
    assert (ran.code, ran.out) == (0, "the schema is at head\n")


# --- names from outside -------------------------------------------------------------------


def test_a_hostile_name_reaches_neither_terminal_nor_path(run: Run, service: Service) -> None:
    service.register("acme%2F%5Bbold%5Devil%5B%2Fbold%5D%1B%5D0;owned%07", "v1")
    fleet, one = run("status"), run("status", HOSTILE)
    assert one.code == 0
    for ran in (fleet, one):
        assert "\x1b" not in ran.out
        assert "\x07" not in ran.out
        assert "acme/[bold]evil[/bold]\\x1b]0;owned\\x07" in ran.out
    references = run("reference", "status", HOSTILE, "v1")
    assert references.code == 0
    assert "\x1b" not in references.out
    assert "\x1b" not in run("status", HOSTILE, "--json").out


# --- what is deleted ----------------------------------------------------------------------


def test_what_is_deleted_is_told_and_a_clock_confirmed(run: Run) -> None:
    assert "is deleted" in run("retention", "show").out
    assert "catch up" in run("retention", "confirm").out
    assert json.loads(run("retention", "show", "--json").out)["reached"]
