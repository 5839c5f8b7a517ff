"""How a request begins, by hash, and in what form its answer comes."""

from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any

import numpy as np
import pytest

from detectors.signals import FORMATS
from driftline.formats.answers import request_fields
from monitor.capture.assemble import Admitted, KeptFields, answer_format, assemble
from monitor.capture.directory import Resolved
from monitor.capture.subjects import prefix_code
from monitor.capture.wire import Record
from monitor.domain import AdapterId, VersionId

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = b"k" * 32


def prefix(key: bytes = KEY, **fields: Any) -> float:
    record = Record(id="r", adapter="support", at=AT, **fields)
    one = Admitted(record, Resolved(AdapterId(1), VersionId(1), None), 1.0, None, None)
    keeping = KeptFields(subject_key=key, prompts=True, outputs=True, tokens_for=timedelta(days=14))
    batch = assemble([one], [0], keeping=keeping, now=AT)
    assert not any("kind" in str(text) for text in batch.texts), "the system prompt is not kept"
    return float(batch.numbers["prompt_prefix"][0])


def test_requests_that_begin_alike_have_one_code_whatever_follows() -> None:
    kind = "You are a kind assistant of a bank with branches in forty towns."
    assert len(kind) == 64
    assert prefix(system=kind) == prefix(system=f"{kind} Be brief.", prompt="When?")
    assert prefix(system=kind) != prefix(system="")
    assert prefix(system="", prompt="When?") == prefix(system="", prompt="Where?")
    assert prefix(prompt="When?") != prefix(prompt="Where?"), "a prompt stands for what is not said"
    assert np.isnan(prefix())


def test_codes_need_the_key_and_are_what_a_float4_holds() -> None:
    assert prefix(system="be kind") != prefix(b"other" * 6, system="be kind")
    codes = {prefix_code(KEY, str(number)) for number in range(2_000)}
    assert len(codes) > 1_990
    assert all(float(np.float32(code)) == code for code in codes)


@pytest.mark.parametrize(
    ("request_", "system"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, ""),
        ({"messages": [{"role": "system", "content": "be kind"}]}, "be kind"),
        (
            {
                "messages": [
                    {"role": "system", "content": "be kind"},
                    {"role": "developer", "content": [{"type": "text", "text": "and brief"}]},
                    {"role": "user", "content": "hi"},
                    {"role": "system", "content": "later"},
                ]
            },
            "be kind\nand brief",
        ),
        ({"input": "hi", "instructions": "be kind"}, None),
        ({"input": [{"role": "user", "content": "hi"}], "instructions": "be kind"}, "be kind"),
        ({"prompt": "hi"}, None),
        ({"messages": [{"role": "system", "content": "redacted-by-litellm"}]}, None),
    ],
)
def test_what_stands_before_the_conversation(request_: dict[str, Any], system: str | None) -> None:
    assert request_fields(request_).get("system") == system


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"size": "XL", "colour": "red"}', "json"),
        ('[{"a": 1}]', "json"),
        ('```json\n{"a": 1}\n```', "json"),
        ('{"size": "XL", "col', "json"),
        ("[1] is the first source.", "prose"),
        ("[1, 2, 3]", "json"),
        ("```python\nprint(1)\n```", "code"),
        ("Here it is:\n```\nls -l\n```", "code"),
        ("def f(x):\n    return (x)", "code"),
        ("int main() {\n  return 0;\n}", "code"),
        ("- tea\n- milk\n- bread", "list"),
        ("You need:\n1. tea\n2. milk\n3. bread", "list"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "list"),
        ("Your card is on its way; it takes 3 days.", "prose"),
        ("If it is late, write to us.\nWe answer within a day.", "prose"),
        ("- only one", "prose"),
        ("東京は日本の首都です。", "prose"),
    ],
)
def test_the_form_of_an_answer_is_its_structure(text: str, form: str) -> None:
    assert FORMATS[int(answer_format(text))] == form


def test_a_blank_answer_has_no_form() -> None:
    assert isnan(answer_format(" \n"))
