import base64
import json
import time

import pytest
import svix
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import WebhookVerificationError as SvixRefused

from alerts.signature import parse_secrets, signed_headers


def secret(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


OLD, NEW = secret(b"o" * 24), secret(b"n" * 64)


def test_signs_the_published_test_vector() -> None:
    # The published test vector of Standard Webhooks, found in the tests of its libraries.
    headers = signed_headers(
        parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(
    key=st.binary(min_size=24, max_size=63),
    body=st.text(max_size=200),
    message_id=st.from_regex(r"[A-Za-z0-9_:-]{1,128}", fullmatch=True),
)
def test_both_verifiers_accept_every_message_and_none_that_was_changed(
    key: bytes, body: str, message_id: str
) -> None:
    text, sent = secret(key), json.dumps(body).encode()
    headers = signed_headers(parse_secrets(text), message_id, timestamp=int(time.time()), body=sent)
    for kind, refusal in ((Webhook, WebhookVerificationError), (svix.Webhook, SvixRefused)):
        kind(text).verify(sent, headers)
        with pytest.raises(refusal):
            kind(text).verify(sent + b" ", headers)
        with pytest.raises(refusal):
            kind(secret(key[::-1] + b"!")).verify(sent, headers)


@pytest.mark.parametrize("known", [OLD, NEW])
def test_during_a_rotation_either_secret_verifies(known: str) -> None:
    headers = signed_headers(
        parse_secrets(f"{NEW}\n{OLD}\n"), "msg_1", timestamp=int(time.time()), body=b"{}"
    )
    assert Webhook(known).verify(b"{}", headers) == {}
    svix.Webhook(known).verify(b"{}", headers)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(time.time()) - 60)},
        {"webhook-timestamp": "0"},
    ],
    ids=["id", "timestamp", "old"],
)
def test_a_message_that_was_changed_or_replayed_does_not_verify(change: dict[str, str]) -> None:
    headers = signed_headers(parse_secrets(OLD), "msg_1", timestamp=int(time.time()), body=b"{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(b"{}", headers | change)
    with pytest.raises(SvixRefused):
        svix.Webhook(OLD).verify(b"{}", headers | change)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(b"{ }", headers)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "needs a secret"),
        (" \n", "needs a secret"),
        ("hunter2hunter2hunter2hunter2", "must start with whsec_"),
        ("whsec_hunter2!", "not base64"),
        (secret(b"x" * 23), "has 23 bytes"),
        (secret(b"x" * 65), "has 65 bytes"),
        (f"{OLD} whsec_hunter2!", "secret 2"),
    ],
)
def test_a_weak_or_garbled_secret_is_refused_without_quoting_it(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_secrets(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n", "é", "x" * 129])
def test_an_id_that_would_make_the_signed_text_ambiguous_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        signed_headers(parse_secrets(OLD), message_id, timestamp=1, body=b"")
