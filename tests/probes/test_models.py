"""Models that a hub does not give, and why."""

import errno
import os
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from monitor.probes.errors import ModelMissing
from monitor.probes.models import locate

ANSWER = httpx2.Response(403, request=httpx2.Request("GET", "https://hub.invalid/acme/model"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HfHubHTTPError("x", response=ANSWER), "the hub answered HTTP 403"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (OSError("x"), "it is out of reach"),
        (HFValidationError("x"), "no name that a hub could have"),
    ],
    ids=["refused", "disk", "away", "name"],
)
def test_a_model_that_a_hub_does_not_give_says_why_in_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelMissing, match=said) as told:
        locate("acme/model")
    assert "Error" not in str(told.value)
