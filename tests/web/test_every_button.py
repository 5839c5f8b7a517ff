"""A test in a real browser uses every button of the pages, and every field that filters."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from monitor.web.frame import TEMPLATES

HERE: Final = Path(__file__).parent
BROWSER: Final = {"look", "world"}
"""Fixtures that open one."""
_INSIDE: Final = r"((?:[^>{]|\{\{.*?\}\}|\{%.*?%\})*)>"
FORM: Final = re.compile(rf"<form\b{_INSIDE}(.*?)</form>", re.DOTALL)
BUTTON: Final = re.compile(rf'<button type="submit"{_INSIDE}')
FIELD: Final = re.compile(rf"<(?:input|select)\b{_INSIDE}")
MACRO: Final = re.compile(r'\b(?:choice|number)\("(\w+)", "')
"""A call of a macro that writes a field, with its name."""

USED: Final[Mapping[str, Sequence[str]]] = {
    "test_a_canary_begins_in_the_way_that_was_chosen": ["POST /canaries"],
    "test_a_canary_that_came_to_nothing_is_extended": ["POST /canaries/{}/order resume"],
    "test_a_key_is_revoked_and_ones_own_ends_the_session": ["POST /keys/{}/revoke"],
    "test_a_message_that_no_channel_took_is_sent_again_from_the_page": [
        "POST /deliveries/{}/replay"
    ],
    "test_a_person_approves_the_move_that_waits": ["POST /incidents/{}/do approve"],
    "test_a_person_pauses_a_canary_and_ends_it_and_another_is_planned_and_begun": [
        "POST /canaries/{}/order pause",
        "POST /canaries/{}/order abort",
        "GET /canaries/new of",
        "GET /canaries/new per_day",
    ],
    "test_a_person_resumes_a_canary_and_puts_it_in_charge_all_the_same": [
        "POST /canaries/{}/order force"
    ],
    "test_a_person_sends_traffic_away_and_accepts_what_goes_on": [
        "POST /incidents/{}/do away",
        "POST /incidents/{}/do accepted",
    ],
    "test_a_plan_follows_what_is_asked": [
        f"GET /canaries/new {name}" for name in ("drop", "margin", "rate", "days")
    ],
    "test_a_proven_canary_is_promoted": ["POST /canaries/{}/order promote"],
    "test_a_range_is_chosen_shifted_zoomed_and_typed": [
        "GET {} from",
        "GET {} to",
    ],
    "test_a_reference_is_approved": ["POST /adapters/{}/approve"],
    "test_a_report_is_asked_for": ["POST /adapters/{}/report"],
    "test_a_signal_is_compared_with_the_reference": ["GET /adapters/{}#histogram signal"],
    "test_a_silence_is_set_seen_and_ended": ["POST /silences", "POST /silences/{}/expire"],
    "test_adapters_are_found_by_what_is_known_of_them": ["GET / q"],
    "test_filters_narrow_it_and_say_when_nothing_is_left": [
        "GET /incidents adapter",
        "GET /incidents severity",
    ],
    "test_requests_are_sorted_filtered_and_turned_over": [
        f"GET /adapters/{{}}/requests {one}"
        for one in ("order", "version", "finish", "id", "failed", "serving")
    ],
    "test_retraining_is_requested_from_the_page_once": ["POST /incidents/{}/do retrain"],
    "test_routes_are_found_and_walked_through": ["GET /routes q"],
    "test_somebody_takes_it_in_hand_routes_back_and_holds": [
        f"POST /incidents/{{}}/do {one}" for one in ("ack", "back", "hold", "false_page")
    ],
    "test_the_fleet_is_filtered_by_what_is_known": [
        f"GET / {name}" for name in ("verdict", "owner", "tier", "base", "reference")
    ],
    "test_the_fleet_is_grouped_sorted_and_narrowed_to_what_is_compared": [
        f"GET / {name}" for name in ("compared", "group", "sort")
    ],
    "test_the_inbox_is_filtered": [f"GET /incidents {one}" for one in ("owner", "base", "blame")],
    "test_the_inbox_is_sorted_turned_over_and_shows_what_is_resolved": ["GET /incidents order"],
    "test_the_kill_switch_is_a_button_and_a_typed_reason_outlives_a_refresh": [
        "POST /kill-switch on",
        "POST /kill-switch off",
    ],
    "test_the_routes_are_listed_with_what_moved_them_and_an_action_is_approved_there": [
        "POST /actions/{}/approve"
    ],
    "test_two_hundred_payloads_in_every_field_stay_text": ["POST /incidents/{}/answers#answers"],
    "test_two_versions_stand_beside_each_other_and_what_differs_is_marked": [
        "GET /adapters/{}/versions"
    ],
}
"""By test, what it uses: a form's method, its action, and a button's value or a field."""
SESSION: Final = {"POST /login", "POST /logout"}
"""Every test logs in."""


def test_every_button_and_every_filter_is_used_in_a_browser() -> None:
    used = {one for some in USED.values() for one in some}
    assert set(controls()) - SESSION == used


def test_the_tests_that_use_them_exist_and_open_a_browser() -> None:
    opening = {
        found.name
        for path in HERE.glob("test_*.py")
        for found in ast.parse(path.read_text()).body
        if isinstance(found, ast.FunctionDef)
        and BROWSER & {argument.arg for argument in found.args.args}
    }
    assert set(USED) - opening == set()


def controls() -> Iterator[str]:
    """Find the controls in the templates; names in an action are ``{}``."""
    for path in TEMPLATES.rglob("*.html"):
        for head, body in FORM.findall(path.read_text()):
            form = f"{_attribute(head, 'method').upper()} {_action(head)}"
            names = list(_fields(body)) if form.startswith("GET") else list(_values(body))
            yield from (f"{form} {name}".rstrip() for name in names or [""])


def _values(body: str) -> Iterator[str]:
    """Give the values of a form's buttons; one that is chosen by a condition has several."""
    for button in BUTTON.findall(body):
        value = _attribute(button, "value")
        yield from re.findall(r'"(\w+)"', value) if value.startswith("{{") else [value]


def _fields(body: str) -> Iterator[str]:
    for field in FIELD.findall(body):
        if 'type="hidden"' not in field:
            yield _attribute(field, "name")
    yield from MACRO.findall(body)


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'\b{name}="(\{{\{{.*?\}}\}}|[^"]*)"', tag)
    return found.group(1) if found else ""


def _action(head: str) -> str:
    return _attribute(re.sub(r"\{\{.*?\}\}", "{}", head), "action")
