"""Where texts come from, and which answers are learned."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.trainer import process
from monitor.trainer.errors import ProgramFailed, TrainingFailed, TrainingRefused
from monitor.trainer.examples import ChatTurn, Example, distinct, read, write
from monitor.trainer.gathering import Gathering
from monitor.trainer.mixing import mix, replay_count
from monitor.trainer.settings import LabelPolicy, TextSource, TrainerSettings
from tests.loopback import LOOPBACK, Receiver, answer
from tests.service import until
from tests.trainer.trainee import example

COUNT = 40
FETCH = """
import json, sys
for number, line in enumerate(sys.stdin):
    name = line.strip()
    print(json.dumps({"id": name, "prompt": f"ask {name}", "completion": f"say {name}",
                      "accepted": number % 2 == 0}))
print(json.dumps({"id": "nobody asked", "prompt": "a", "completion": "b", "accepted": True}))
"""


class Manifest:
    """A service that knows which records are meant."""

    def __init__(self, rows: list[dict[str, Any]], stored: Any = None) -> None:
        self.rows, self.stored = rows, stored or []

    def lines(self, path: str, **_: object) -> Iterator[str]:
        rows = self.rows if path.endswith("/manifest") else self.stored
        yield from map(json.dumps, rows)

    def get(self, path: str, **parameters: object) -> Any:
        raise AssertionError((path, parameters))

    def post(self, path: str, body: object) -> Any:
        raise AssertionError((path, body))

    put = post


ROWS = [{"id": f"r{n}", "feedback": {"thumbs": n % 4 / 3}} for n in range(COUNT)]


def gathering(folder: Path, *, rows: Any = ROWS, stored: Any = None, **settings: Any) -> Gathering:
    return Gathering(
        api=Manifest(rows, stored),
        http=OutgoingClient(OutgoingPolicy(allow=LOOPBACK)),
        settings=TrainerSettings(least=20, **settings),
        folder=folder,
        request=1,
        tell=lambda *_: None,
    )


def test_a_command_gets_the_ids_and_only_what_was_meant_is_taken(tmp_path: Path) -> None:
    command = (sys.executable, "-c", FETCH)
    asked = gathering(
        tmp_path, texts=TextSource.COMMAND, command=command, labels=LabelPolicy.ACCEPTED
    )
    texts = asked.texts(unlike=False)
    assert [one.id for one in texts] == [f"r{n}" for n in range(COUNT)]
    assert texts[3].feedback == {"thumbs": 1.0}
    assert [one.id for one in asked.labelled(texts)] == [f"r{n}" for n in range(0, COUNT, 2)]
    gone = gathering(tmp_path, rows=[], texts=TextSource.COMMAND, command=("/gone",))
    assert gone.texts(unlike=False) == texts, "what was gathered is not asked for again"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('no log here')", "ended with code 1: see .*command.log"),
        ("print('{')", "the output of .*, line 1: "),
        ("print('{\"id\": 3}')", "line 1: Expected `str`, got `int`"),
    ],
)
def test_a_command_that_fails_or_writes_something_else_says_so(
    tmp_path: Path, script: str, said: str
) -> None:
    asked = gathering(tmp_path, texts=TextSource.COMMAND, command=(sys.executable, "-c", script))
    with pytest.raises((TrainingFailed, TrainingRefused), match=said):
        asked.texts(unlike=False)
    assert not (tmp_path / "examples.jsonl").exists()


def test_an_address_answers_for_each_and_one_that_fails_costs_no_other(tmp_path: Path) -> None:
    body = json.dumps({"prompt": "a", "completion": "b", "accepted": True}).encode()
    with Receiver([answer(404), answer(500), answer(200, body=body)]) as log:
        asked = gathering(tmp_path, texts=TextSource.ADDRESS, address=f"{log.url}?of={{id}}&like=1")
        texts = asked.texts(unlike=True)
    assert len(texts) == COUNT - 2
    assert {one.path for one in log.seen} == {f"/hook?of=r{n}&like=1" for n in range(COUNT)}


def test_what_a_source_lacks_for_more_than_half_is_a_failure(tmp_path: Path) -> None:
    with Receiver([answer(500)]) as log:
        asked = gathering(tmp_path, texts=TextSource.ADDRESS, address=f"{log.url}/{{id}}")
        with pytest.raises(TrainingFailed, match=r"texts: \d+ of 40 failed: it answered 500"):
            asked.texts(unlike=True)


def test_stored_texts_are_those_of_the_service(tmp_path: Path) -> None:
    stored = [_said(n) for n in range(25)]
    asked = gathering(
        tmp_path, stored=stored, labels=LabelPolicy.FEEDBACK, feedback="thumbs", feedback_least=0.3
    )
    texts = asked.texts(unlike=True)
    assert texts[0].turns == (ChatTurn("user", "hi 1"), ChatTurn("assistant", "hello"))
    assert len(texts) == 18, "without those whose feedback is too low"
    with pytest.raises(TrainingRefused, match=r"18 of 18 texts have .* 20 are needed"):
        asked.labelled(texts)


def _said(number: int) -> dict[str, Any]:
    said = [{"from": "human", "value": f"hi {number}"}, {"from": "gpt", "value": "hello"}]
    return {"id": f"r{number}", "conversations": said}


def test_answers_to_one_question_count_once(tmp_path: Path) -> None:
    same = [
        Example(id=f"r{n}", prompt="the same", completion=str(n), accepted=True) for n in range(30)
    ]
    asked = gathering(
        tmp_path, texts=TextSource.COMMAND, command=("x",), labels=LabelPolicy.ACCEPTED
    )
    with pytest.raises(TrainingRefused, match="1 of 30 texts"):
        asked.labelled(same)


def test_a_teacher_answers_anew_and_one_that_it_cannot_is_left_out(tmp_path: Path) -> None:
    body = json.dumps({"choices": [{"message": {"content": "as taught"}}]}).encode()
    texts = [example(n) for n in range(30)]
    with Receiver([answer(400), answer(200, body=body)]) as teacher:
        asked = gathering(
            tmp_path,
            labels=LabelPolicy.TEACHER,
            teacher_url=f"{teacher.url}/v1",
            teacher_model="big",
            teacher_key="k3y",
        )
        found = asked.labelled(texts)
        assert asked.labelled(texts) == found
    assert len(found) == 29
    assert len(teacher.seen) == 30, "nobody is asked again"
    assert found[0].turns[-1] == ChatTurn("assistant", "as taught")
    sent = [json.loads(one.body)["messages"] for one in teacher.seen]
    assert [{"role": "user", "content": texts[0].prompt}] in sent
    assert teacher.seen[0].headers["authorization"] == "Bearer k3y"
    assert teacher.seen[0].path == "/hook/v1/chat/completions"


def test_a_few_that_always_fail_do_not_end_a_run_that_goes_on(tmp_path: Path) -> None:
    texts = [example(n) for n in range(30)]
    write(tmp_path / "labels.jsonl", [one.answer("as taught") for one in texts[3:]])
    with Receiver([answer(400)]) as teacher:
        asked = gathering(
            tmp_path, labels=LabelPolicy.TEACHER, teacher_url=teacher.url, teacher_model="big"
        )
        assert len(asked.labelled(texts)) == 27


def test_without_a_policy_nothing_is_learned(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match=r'trainer\.labels is "none"'):
        gathering(tmp_path).labelled([example(n) for n in range(30)])


def test_a_request_whose_records_are_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="means no records"):
        gathering(tmp_path, rows=[]).texts(unlike=True)


def test_many_records_are_thinned_out_evenly_after_those_without_text(tmp_path: Path) -> None:
    rows = [{"id": f"r{n}", "feedback": {}} for n in range(5_000)]
    stored = [_said(n) for n in range(1_000)]
    texts = gathering(tmp_path, rows=rows, stored=stored, most=300).texts(unlike=False)
    assert [one.id for one in texts] == [f"r{n}" for n in range(0, 1_000, 4)]


def test_a_program_is_ended_with_what_it_started_when_it_is_not_wanted(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '617'])"]

    def wanted() -> None:
        if _sleeps():
            raise TrainingFailed("nobody wants it any more")

    with pytest.raises(TrainingFailed, match="nobody wants it"):
        process.run(words, log=tmp_path / "log", alive=wanted, limit=timedelta(minutes=2))
    assert until(lambda: not _sleeps(), "the end of what the program started")


def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="ran longer than"):
        process.run(
            ["sleep", "600"],
            log=tmp_path / "log",
            alive=lambda: None,
            limit=timedelta(seconds=0.1),
        )


def _sleeps() -> list[str]:
    return [line for line in _commands() if line.startswith("sleep\x00617")]


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found


def test_a_program_sees_no_secret_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_KEY", "dl_secret")
    with (tmp_path / "out").open("wb") as into:
        process.run(
            ["env"], log=tmp_path / "log", alive=lambda: None, limit=timedelta(9), into=into
        )
    assert "dl_secret" not in (tmp_path / "out").read_text()
    with pytest.raises(ProgramFailed) as gone:
        process.run(["/gone"], log=tmp_path / "log", alive=lambda: None, limit=timedelta(9))
    assert (gone.value.code, gone.value.last) == (127, "/gone: No such file or directory")


def test_a_program_that_is_killed_says_by_what(tmp_path: Path) -> None:
    def kill() -> None:
        _wait_for(tmp_path / "pid")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    script = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    later = threading.Timer(0.0, kill)
    later.start()
    with pytest.raises(ProgramFailed, match="ended by signal 9") as killed:
        process.run(
            [sys.executable, "-c", script, str(tmp_path / "pid")],
            log=tmp_path / "log",
            alive=lambda: None,
            limit=timedelta(minutes=2),
        )
    later.join()
    assert killed.value.last == "it said nothing"


def _wait_for(path: Path) -> None:
    ends = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < ends
        time.sleep(0.02)


@given(new=st.integers(40, 400), old=st.integers(0, 400), share=st.floats(0.0, 0.5))
def test_a_mix_shares_nothing_and_has_the_share_where_there_is_enough(
    new: int, old: int, share: float
) -> None:
    fresh = [Example(text=f"new {n}") for n in range(new)]
    known = [Example(text=f"old {n}") for n in range(old)]
    found = mix(fresh, [*known, fresh[0]], share=share, held_out=0.1, seed=3)
    parts = [found.new, found.replayed, found.held_out, found.earlier]
    texts = [one.text for part in parts for one in part]
    assert len(texts) == len(set(texts))
    assert {one.text for one in [*found.new, *found.held_out]} == {one.text for one in fresh}
    wanted = replay_count(len(found.new), share)
    assert len(found.replayed) == min(wanted, old - len(found.earlier))
    assert len(found.held_out) >= 20
    assert len(found.earlier) >= min(20, old)
    assert found == mix(fresh, [*known, fresh[0]], share=share, held_out=0.1, seed=3)


def test_examples_are_read_in_three_forms_and_kept_once(tmp_path: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"prompt": "a", "completion": "b", "anything": 1},
        {"text": "only a text"},
        {"prompt": "nobody answered"},
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    found = read(path)
    assert [one.answered for one in found] == [True, True, True, False]
    assert found[0].turns == found[1].turns
    again = Example(prompt="a", completion="another answer")
    assert distinct([*found, again]) == [found[0], *found[2:]]
    write(path, found)
    assert read(path) == found
    path.write_text('{"text": "a"}\n{"text": 1}\n')
    with pytest.raises(TrainingRefused, match="line 2: Expected `str`"):
        read(path)
    with pytest.raises(TrainingRefused, match="No such file"):
        read(tmp_path / "gone")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": LabelPolicy.ACCEPTED}, "labels: stored texts are not marked as accepted"),
        ({"texts": TextSource.COMMAND}, "command: needed, as texts says"),
        ({"texts": TextSource.ADDRESS, "address": "http://log"}, "address: needed"),
        ({"labels": LabelPolicy.FEEDBACK}, "feedback: needed, as labels says"),
        ({"labels": LabelPolicy.TEACHER, "teacher_url": "http://t"}, "teacher_model: needed"),
        ({"epochs": 0}, "epochs: must be above 0"),
        ({"held_out": 0.6}, "held_out: must be above 0"),
        ({"replay": 1.0}, "replay: a share, below 1"),
        ({"least": 3}, "least: at least 20"),
        ({"max_time": timedelta()}, "max_time: must be longer than 0"),
        ({"max_memory": -1}, "max_memory: must not be negative"),
        ({"version": "{parent}-{date}"}, "version: only {parent} and {request} are filled in"),
        ({"training": "{"}, "training: only {adapter} and {version} are filled in"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any], said: str) -> None:
    assert TrainerSettings().problems == []
    (found,) = TrainerSettings(**settings).problems
    assert found.startswith(said)
