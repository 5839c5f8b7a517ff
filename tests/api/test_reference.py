"""References come in as a stream or as a window, whole or not at all."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from monitor.domain import Scope
from monitor.store.tables.references import references
from tests.serving import Serving

PATH = "/v1/adapters/support/versions/v1/reference"
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def registered(service: Serving) -> Serving:
    with service.client(Scope.ADMIN) as client:
        assert client.put("/v1/adapters/support/versions/v1", json={}).status_code == 200
    return service


def _lines(count: int) -> bytes:
    now = datetime.now(UTC)
    lines: list[dict[str, object]] = [
        {"role": "training", "text": f"how do I return item {i}?"} for i in range(count)
    ]
    lines += [
        {
            "role": "baseline",
            "id": str(i),
            "at": (now - timedelta(minutes=i)).isoformat(),
            "prompt": f"when does parcel {i} come?",
            "output": "It arrives today.",
            "token_logprobs": [-0.2, -0.1, -1.3, -0.3, -0.2],
        }
        for i in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _generations(service: Serving) -> int:
    with service.database.begin() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(references)).scalar_one())


def test_an_upload_is_accepted_and_shows_its_progress(registered: Serving) -> None:
    with registered.client(Scope.ADMIN) as client:
        body = _lines(400)
        pieces = (body[i : i + 1000] for i in range(0, len(body), 1000))
        made = client.post(PATH, content=pieces, headers=NDJSON, params={"cause": "v1 is new"})
        assert made.status_code == 202, made.text
        assert made.headers["location"] == PATH
        assert (made.json()["state"], made.json()["n_training"]) == ("building", 400)
        found = client.get(PATH).json()
        assert client.get("/v1/adapters/support").json()["reference"]["state"] == "building"
    assert found["current"] is None
    assert [item["cause"] for item in found["items"]] == ["v1 is new"]


def test_a_wrong_line_refuses_the_whole_upload_and_is_named(registered: Serving) -> None:
    with registered.client(Scope.ADMIN) as client:
        answer = client.post(PATH, content=_lines(3) + b"{oops\n", headers=NDJSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["line"] == 7
    assert _generations(registered) == 0


def test_a_client_that_goes_away_leaves_nothing_behind(registered: Serving) -> None:
    def broken() -> Iterator[bytes]:
        yield _lines(10)
        raise ConnectionError("pulled the plug")

    with registered.client(Scope.ADMIN) as client, pytest.raises(ConnectionError):
        client.post(PATH, content=broken(), headers=NDJSON)
    _eventually(lambda: _generations(registered) == 0)


def test_a_window_is_frozen(registered: Serving) -> None:
    end = datetime.now(UTC)
    window = {"start": (end - timedelta(days=1)).isoformat(), "end": end.isoformat()}
    with registered.client(Scope.ADMIN) as client:
        made = client.post(PATH, json={"freeze": {**window, "cause": "calm week"}})
    assert made.status_code == 202, made.text
    assert (made.json()["state"], made.json()["cause"]) == ("building", "calm week")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"freeze": {"start": "2026-01-02T00:00:00Z"}}, "#/freeze/end"),
        ({"freeze": {"start": "2026-01-02T00:00:00", "end": "2026-01-03"}}, "#/freeze/start"),
        (
            {"freeze": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}},
            "#/freeze",
        ),
        ({"frieze": {}}, "#/freeze"),
    ],
)
def test_a_wrong_freeze_points_at_the_field(
    registered: Serving, body: object, pointer: str
) -> None:
    with registered.client(Scope.ADMIN) as client:
        answer = client.post(PATH, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_other_types_and_encodings_are_refused(registered: Serving) -> None:
    with registered.client(Scope.ADMIN) as client:
        assert (
            client.post(PATH, content=b"x", headers={"content-type": "text/csv"}).status_code == 415
        )
        packed = {**NDJSON, "content-encoding": "gzip"}
        assert client.post(PATH, content=b"x", headers=packed).status_code == 415


def test_only_a_ready_generation_can_be_approved(registered: Serving) -> None:
    with registered.client(Scope.ADMIN) as client:
        client.post(PATH, content=_lines(400), headers=NDJSON)
        early = client.post(f"{PATH}/approve", json={"generation": 1})
        assert early.status_code == 409
        assert client.post(f"{PATH}/approve", json={"generation": 2}).status_code == 404
        with registered.database.begin() as tx:
            tx.execute(references.update().values(state="ready"))
        done = client.post(f"{PATH}/approve", json={"generation": 1})
    assert done.status_code == 200, done.text
    assert (done.json()["provisional"], done.json()["approved_by"]) == (False, "for admin")


def _eventually(holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
