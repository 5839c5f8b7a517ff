"""What is wrong is refused in words that say what and where, and costs nothing else."""

import gzip
import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.service import NDJSON, ROOT, Service

NOW = datetime.now(UTC)
JSON = {"content-type": "application/json"}
NUMBER = itertools.count()
NAN = float("nan")


def good(**change: Any) -> dict[str, Any]:
    record = {"id": f"good-{next(NUMBER)}", "adapter": "support", "at": NOW.isoformat()}
    return record | change


def case(*row: Any) -> Any:
    return pytest.param(*row, id=str(row[-1])[:70])


# --- one bad item among good ones ---------------------------------------------------------

RECORDS = [
    case({"id": ""}, "records[1].id: expected str of length >= 1"),
    case({"id": 7}, "records[1].id: expected str, got int"),
    case({"id": "x" * 129}, "records[1].id: expected str of length <= 128"),
    case({"id": "a\nb"}, "records[1].id: has characters that cannot be printed"),
    case({"at": "yesterday"}, "records[1].at: invalid RFC3339 encoded datetime"),
    case({"at": "2026-11-24T12:00:00"}, "records[1].at: expected datetime with a timezone"),
    case({"at": (NOW + timedelta(hours=1)).isoformat()}, "more than 10 minutes in the future"),
    case({"at": (NOW - timedelta(days=91)).isoformat()}, "older than the 90 days kept"),
    case({"arm": "blue"}, "records[1].arm: invalid enum value 'blue'"),
    case({"promt": "hi"}, "records[1]: unknown field 'promt'; did you mean 'prompt'?"),
    case({"prompt": 5}, "records[1].prompt: expected str | null, got int"),
    case({"token_logprobs": [-1, 0.4]}, "records[1].token_logprobs[1]: 0.4 is above 0"),
    case({"token_logprobs": ["x"]}, "records[1].token_logprobs[0]: expected float | null, got str"),
    case({"token_logprobs_f16": "AAAA"}, "3 bytes are not a whole number of float16 values"),
    case({"top_logprobs": [[-1]]}, "records[1].top_logprobs: needs token_logprobs"),
    case({"token_logprobs": [-1], "top_logprobs": [[-1] * 21]}, "array of length <= 20"),
    case({"embedding": [1.0]}, "records[1].encoder: required beside embedding"),
    case({"embedding": [1, NAN], "encoder": "m"}, "embedding: has values that are not finite"),
    case({"temperature": -1}, "records[1].temperature: expected float >= 0.0"),
    case({"status": "ok"}, "records[1].status: expected int | null, got str"),
    case({"sample_prob": 0}, "records[1].sample_prob: expected float > 0.0"),
    case({"feedback": {"csat": "good"}}, "records[1].feedback[...]: expected float, got str"),
]


@pytest.mark.parametrize(("change", "said"), RECORDS)
def test_a_wrong_record_is_named_and_those_beside_it_are_stored(
    shared: Service, change: dict[str, Any], said: str
) -> None:
    body = json.dumps({"records": [good(), good(**change), good()]}).encode()
    answer = shared.call("POST", "/v1/records", content=body, headers=JSON)
    assert answer.status_code == 202
    outcome = answer.json()
    assert (outcome["accepted"], outcome["duplicates"]) == (2, 0)
    (rejected,) = outcome["rejected"]
    assert rejected["index"] == 1
    assert said in rejected["error"]


UNREGISTERED = [
    case({"adapter": "nobody"}, "records[1].adapter: unknown adapter 'nobody'; register it"),
    case({"version": "v9"}, "records[1].version: unknown version 'v9' of adapter 'support'"),
]


@pytest.mark.parametrize(("change", "said"), UNREGISTERED)
def test_a_record_of_no_registered_version_is_held_and_told(
    shared: Service, change: dict[str, Any], said: str
) -> None:
    body = json.dumps({"records": [good(), good(**change), good()]}).encode()
    outcome = shared.call("POST", "/v1/records", content=body, headers=JSON).json()
    assert (outcome["accepted"], outcome["rejected"]) == (2, [])
    (held,) = outcome["held"]
    assert held["index"] == 1
    assert said in held["error"]


FEEDBACK = [
    case({"value": "good"}, "feedback[1].value: expected float, got str"),
    case({"value": NAN}, "feedback[1].value: nan is not a finite number"),
    case({"name": ""}, "feedback[1].name: expected str of length >= 1"),
    case({"adapter": "nobody"}, "feedback[1].adapter: unknown adapter 'nobody'"),
    case({"score": 1}, "feedback[1]: unknown field 'score'"),
]


@pytest.mark.parametrize(("change", "said"), FEEDBACK)
def test_wrong_feedback_is_named_and_that_beside_it_is_stored(
    shared: Service, change: dict[str, Any], said: str
) -> None:
    items = [good(name="csat", value=1.0) for _ in range(3)]
    items[1] |= change
    body = json.dumps({"feedback": items}).encode()
    answer = shared.call("POST", "/v1/feedback", content=body, headers=JSON)
    assert answer.status_code == 202
    outcome = answer.json()
    assert outcome["accepted"] == 2
    (rejected,) = outcome["rejected"]
    assert rejected["index"] == 1
    assert said in rejected["error"]


# --- whole requests -----------------------------------------------------------------------

ARM = {"arm": "stable", "version": "v1", "weight": 1.0}
ROUTE = {"arms": [ARM], "reason": "test"}
CURRENT = {"if-match": '"1"'}
RECORDS_PATH = "/v1/records"
ROUTE_PATH = "/v1/routes/support"
REFERENCE = "/v1/adapters/support/versions/v1/reference"
BOMB = gzip.compress(b" " * 9_000_000)
MANY = [good() for _ in range(1_001)]

REQUESTS = [
    case("POST", RECORDS_PATH, {"content": b"{", "headers": JSON}, 400, "is not JSON"),
    case("POST", RECORDS_PATH, {"json": {"items": []}}, 400, '{"records": [...]}'),
    case("POST", RECORDS_PATH, {"json": {"records": MANY}}, 413, "1001 items in one request"),
    case("POST", RECORDS_PATH, {"content": b"x=1"}, 415, "content type '' is not read"),
    case("POST", RECORDS_PATH, {"content": b"x" * 8_400_000, "headers": JSON}, 413, "8,388,608"),
    case(
        "POST",
        RECORDS_PATH,
        {"content": BOMB, "headers": JSON | {"content-encoding": "gzip"}},
        413,
        "when decompressed",
    ),
    case(
        "POST",
        RECORDS_PATH,
        {"content": b"x", "headers": JSON | {"content-encoding": "br"}},
        415,
        "content encoding 'br' is not read",
    ),
    case("GET", RECORDS_PATH, {}, 405, "does not answer GET; it takes POST"),
    case("GET", "/v1/adapterz", {}, 404, "No such path: GET /v1/adapterz"),
    case("GET", "/v1/adapters/nobody", {}, 404, "nobody"),
    case("PUT", "/v1/adapters/new", {"json": {"owner": 5}}, 422, "#/owner: "),
    case("PUT", "/v1/adapters/new", {"json": {"ownr": "x"}}, 422, "#/ownr: "),
    case("PUT", "/v1/adapters/new", {"json": {"mode": "yolo"}}, 422, "#/mode: "),
    case("PUT", "/v1/adapters/new", {"json": {"labels": {"team": "a\0b"}}}, 422, "be printed"),
    case("PUT", "/v1/adapters/" + "x" * 129, {"json": {}}, 422, "1 to 128 characters"),
    case(
        "PUT",
        "/v1/adapters/support/versions/v2",
        {"json": {"sha256": "ABC"}},
        422,
        "#/sha256: ",
    ),
    case("PUT", "/v1/adapters/support/versions/v1", {"json": {"model": "x"}}, 409, "support@v1"),
    case("PUT", ROUTE_PATH, {"json": ROUTE}, 428, "Send If-Match"),
    case("PUT", ROUTE_PATH, {"json": ROUTE, "headers": {"if-match": '"9"'}}, 412, "generation 1"),
    case(
        "PUT",
        ROUTE_PATH,
        {"json": ROUTE | {"arms": [ARM | {"version": "v9"}]}, "headers": CURRENT},
        422,
        "v9",
    ),
    case(
        "PUT",
        ROUTE_PATH,
        {"json": ROUTE | {"arms": [ARM | {"weight": 0.4}]}, "headers": CURRENT},
        422,
        "0.4",
    ),
    case(
        "PUT",
        ROUTE_PATH,
        {"json": ROUTE | {"arms": [ARM | {"weight": 2}]}, "headers": CURRENT},
        422,
        "#/arms/0/weight: ",
    ),
    case("GET", "/v1/adapters/support/scores", {"params": {"limit": 0}}, 422, "limit: "),
    case("GET", "/v1/adapters/support/scores", {"params": {"since": "now"}}, 422, "since: "),
    case("GET", "/v1/adapters/support/scores", {"params": {"cursor": "!"}}, 422, "cursor: "),
    case("GET", "/v1/deliveries", {"params": {"state": "lost"}}, 422, "state: "),
    case("GET", ROUTE_PATH, {"params": {"wait": 3600}}, 422, "wait: "),
    case("POST", REFERENCE, {"content": b"x", "headers": {"content-type": "text/csv"}}, 415, "csv"),
    case("POST", REFERENCE, {"json": {"freeze": {"start": "x"}}}, 422, "#/freeze/start: "),
    case("POST", REFERENCE + "/approve", {"json": {"generation": 7}}, 404, "generation 7"),
]


@pytest.mark.parametrize(("method", "path", "sent", "status", "said"), REQUESTS)
def test_a_wrong_request_is_answered_with_a_problem_that_names_it(
    shared: Service,
    method: str,
    path: str,
    *,
    sent: dict[str, Any],
    status: int,
    said: str,
) -> None:
    answer = shared.call(method, path, **sent)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert said in problem["detail"]


# --- references ---------------------------------------------------------------------------


def training(text: object) -> dict[str, Any]:
    return {"role": "training", "text": text}


def held_out(**change: Any) -> dict[str, Any]:
    line = {"role": "baseline", "id": "b1", "at": "2026-11-01T00:00:00Z", "prompt": "where is it"}
    return line | change


REFERENCES = [
    case([training("a"), 5], 2, "expected an object"),
    case([training("a"), {"text": "b"}], 2, 'role: required, "training" or "baseline"'),
    case([training("a"), training("   ")], 2, "text: is blank"),
    case([training("a"), training("b") | {"label": 1}], 2, "unknown field 'label'"),
    case([training("a"), {"role": "training"}], 2, "training: give text or embedding"),
    case([held_out(), held_out()], 2, "id: this id and time stand in line 1 already"),
    case([held_out(at="soon")], 1, "baseline.at: invalid RFC3339"),
    case([held_out(token_logprobs=[1])], 1, "token_logprobs[0]: 1 is above 0"),
    case([training("Where is  it"), held_out()], 2, "its text is among the training lines too"),
    case([], 0, "no baseline lines: nothing to compare live records with"),
]


@pytest.mark.parametrize(("lines", "line", "said"), REFERENCES)
def test_a_wrong_reference_is_refused_whole_and_the_line_is_named(
    shared: Service, lines: list[Any], line: int, said: str
) -> None:
    before = shared.get(REFERENCE)["items"]
    body = b"".join(json.dumps(one).encode() + b"\n" for one in lines)
    answer = shared.call("POST", REFERENCE, content=body, headers=NDJSON)
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert [error["line"] for error in errors] == [line]
    assert said in errors[0]["detail"]
    assert shared.get(REFERENCE)["items"] == before


# --- configs ------------------------------------------------------------------------------

CONFIGS = [
    case("[servr]\nport = 1", "servr: unknown section; did you mean 'server'?"),
    case("[service]\nmodus = 'auto'", "service.modus: unknown key"),
    case("[server]\nport = 'x'", "server.port: expected `int`, got `str`"),
    case("[schedule]\ntick = 5", 'schedule.tick: expected a duration such as "15m", got 5'),
    case("[policy]\npage_wait = '5 min'", "policy.page_wait: '5 min' is no duration"),
    case("[detectors.logit_kss]", "detectors.logit_kss: unknown detector; did you mean 'logit_ks'"),
    case("[[channels]]\nname = 'a'\nkind = 'pager'", "channels[0].kind: no kind 'pager'"),
    case(
        "[serving]\napi_key_env = 'NOT_SET_ANYWHERE'",
        "serving.api_key_env: the environment has no variable NOT_SET_ANYWHERE",
    ),
    case("[defaults]\nlabels = 5", "defaults.labels: "),
    case("[adapters.support]\nteir = 'gold'", "adapters.support.teir: unknown key; did you mean"),
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All that is said of one file with every mistake of the table."""
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text("\n".join(str(row.values[0]) for row in CONFIGS))
    return _refusal(path)


def _refusal(config: Path) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "monitor", "serve", "-c", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={k: v for k, v in os.environ.items() if not k.startswith("DRIFTLINE_")},
    )
    assert ended.returncode != 0
    return ended.stderr.splitlines()


@pytest.mark.parametrize(("written", "said"), CONFIGS)
def test_a_service_with_a_wrong_config_does_not_start_and_names_every_mistake(
    complaints: list[str], written: str, said: str
) -> None:
    assert any(said in line for line in complaints), (written, complaints)


def test_after_all_that_the_service_goes_on_and_holds_exactly_what_was_right(
    shared: Service,
) -> None:
    before = shared.get("/v1/adapters/support")["records_last_hour"]
    shared.send([good()])
    assert shared.get("/v1/adapters/support")["records_last_hour"] == before + 1
    assert [a["adapter"] for a in shared.get("/v1/adapters")["items"]] == ["support"]
    assert shared.get(ROUTE_PATH)["generation"] == 1
    assert shared.events("request_failed") == []
