"""`parity` between names that engines serve."""

import json
from pathlib import Path

import pytest

from tests.cli.command import driftline, failed
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as faked

PROMPTS = "\n".join(
    json.dumps({"prompt": f"I lost my card number {number}. What now?"}) for number in range(80)
)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.jsonl"
    file.write_text(PROMPTS)
    return file


def test_the_same_weights_under_two_names_are_the_same(engine: str, prompts: Path) -> None:
    ran = driftline(
        "parity", "travel@v1", "booking", "--engine", engine, "--prompts", str(prompts), "--json"
    )
    assert ran.code == 0, ran
    found = json.loads(ran.out)
    assert (found["same"], found["reasons"]) == (True, [])
    assert (found["inputs"], found["real"]) == (100, 50)
    assert {part: one["kl"] for part, one in found["parts"].items()} == {
        "real prompts": 0.0,
        "fixed texts": 0.0,
    }
    assert found["worst"] == []


def test_another_version_is_different_and_the_worst_inputs_are_named(
    engine: str, prompts: Path
) -> None:
    words = ["parity", "support@v1", "support@v2", "--engine", engine, "--prompts", str(prompts)]
    ran, text = driftline(*words), driftline(*words, "--show-text", "--json")
    assert (ran.code, text.code) == (5, 5)
    for said in (
        "different: real prompts: KL ",
        "same top token at",
        "prompts.jsonl:",
        "not decisive",
    ):
        assert said in ran.out
    assert "card number" not in ran.out
    worst = json.loads(text.out)["worst"]
    assert all(one["text"] for one in worst)
    assert [one["kl"] for one in worst] == sorted((one["kl"] for one in worst), reverse=True)


def test_limits_are_the_users_own(engine: str) -> None:
    words = ["parity", "support@v1", "support@v2", "--engine", engine]
    loose = ["--max-kl", "2", "--min-top1", "0.1"]
    ran = driftline(*words, *loose)
    assert ran.code == 0, ran
    assert ran.out.endswith("the same\n")
    assert "no real prompts were used" in ran.out
    strict = driftline(*words, *loose, "--max-delta", "0.1")
    assert strict.code == 5
    assert "> 0.1 nats" in strict.out


def test_one_name_in_two_engines_is_compared() -> None:
    with faked(FakeEngine()) as one, faked(FakeEngine(nll=0.9)) as other:
        words = ["parity", "support@v7", "support@v7", "--engine", one]
        assert driftline(*words).code == 0
        ran = driftline(*words, "--engine-b", other, "--json")
    assert ran.code == 5
    assert json.loads(ran.out)["parts"]["fixed texts"]["max_delta"] == pytest.approx(0.4)


def test_documents_that_one_engine_cannot_read_are_told() -> None:
    # the other engine finds the long documents too long: it reads none of their tokens
    with faked(FakeEngine()) as one, faked(FakeEngine(longest=60)) as other:
        ran = driftline("parity", "base", "base", "--engine", one, "--engine-b", other)
    failed(ran, "tokens in the one and 0 in the other", code=5)


def test_inputs_that_neither_reads_are_counted_and_none_at_all_is_no_difference() -> None:
    with faked(FakeEngine(longest=60)) as url:
        ran = driftline("parity", "base", "support@v7", "--engine", url, "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["inputs"] + found["left_out"]) == (0, 100)
    assert 0 < found["left_out"] < 100
    with faked(FakeEngine(longest=1)) as url:
        ran = driftline("parity", "base", "base", "--engine", url)
    failed(ran, "none of the 100 fixed texts could be compared", code=1)


def test_an_engine_that_fails_ends_it() -> None:
    fake = FakeEngine(fail_at=3)
    with faked(fake) as url:
        ran = driftline("parity", "base", "support@v7", "--engine", url)
    failed(ran, "base: ", "HTTP 500")
    assert len(fake.completions) == 3


def test_a_name_that_is_not_served_is_told() -> None:
    with faked(FakeEngine()) as url:
        failed(driftline("parity", "base", "nobody", "--engine", url), "nobody", "support@v7")


@pytest.mark.parametrize(
    "words",
    [
        ["support@v7", "support@v8"],
        ["support@v7"],
        ["a", "b", "--engine", "http://127.0.0.1:1", "--inputs", "99"],
        ["a", "b", "--engine", "http://127.0.0.1:1", "--min-top1", "98"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_two(words: list[str]) -> None:
    ran = driftline("parity", *words)
    assert ran.code == 2, ran
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "fine"}\n{"prompt": 7}', "line 2: neither"),
        ('{"prompt": "secret', "line 1: not JSON"),
        ("\n\n", "no prompt in it"),
    ],
)
def test_a_wrong_file_of_prompts_is_told_by_line_and_never_quoted(
    tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(content)
    with faked(FakeEngine()) as url:
        ran = driftline("parity", "a", "b", "--engine", url, "--prompts", str(file))
    failed(ran, said)
    assert "secret" not in ran.err


def test_a_name_is_the_served_model_beside_an_engine_and_the_output_says_so(tmp_path: Path) -> None:
    (tmp_path / "support@v7").mkdir()
    with faked(FakeEngine()) as url:
        words = ["parity", "base", "support@v7", "--engine", url]
        ran = driftline(*words, cwd=tmp_path)
        assert ran.code == 0, ran
        assert f"support@v7: served by {url}" in ran.out
        found = json.loads(driftline(*words, "--json", cwd=tmp_path).out)
        assert found["b_is"] == f"served by {url}"
        # with a separator it is the folder, which holds no weights
        folder = driftline(*words[:2], "./support@v7", *words[3:], cwd=tmp_path)
    assert folder.code == 1
    assert "support@v7: it holds neither adapter_config.json nor config.json" in folder.err
