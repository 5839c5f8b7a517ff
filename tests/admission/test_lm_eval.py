"""The general questions, scored by the local probe and by lm-evaluation-harness on one model."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from detectors.parity import TopLogprobs
from examples.weights import BASE
from monitor.admission.choices import log_likelihoods
from monitor.admission.suite import general_questions
from monitor.probes.comparing import read_all
from monitor.probes.embedding import Dtype
from tests.probes.local.probing import probing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PINNED = Path(__file__).with_name("lm_eval.txt")
TASK = """\
task: driftline_general
dataset_path: json
dataset_kwargs: {{data_files: {{test: {questions}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_choice: choices
doc_to_target: 0
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


def harness() -> Path:
    """An interpreter with lm-evaluation-harness beside our packages; its pins are its own."""
    folder = ROOT / ".venv-lm-eval"
    interpreter, marker = folder / "bin" / "python", folder / "installed.txt"
    wanted = PINNED.read_text() + sys.version
    if not marker.exists() or marker.read_text() != wanted:
        venv.create(folder, clear=True, symlinks=True, with_pip=False)
        own = Path(sysconfig.get_path("purelib"))
        (folder / own.relative_to(sys.prefix) / "driftline.pth").write_text(f"{own}\n")
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "-r", str(PINNED)], check=True)
        marker.write_text(wanted)
    return interpreter


def by_the_harness(folder: Path) -> list[list[float]]:
    """The log-likelihood of each choice of each question, as lm-evaluation-harness gives them."""
    questions = folder / "questions.jsonl"
    questions.write_text(
        "".join(
            json.dumps({"text": one.text, "choices": one.choices}) + "\n"
            for one in general_questions()
        )
    )
    (folder / "driftline_general.yaml").write_text(TASK.format(questions=questions))
    ran = subprocess.run(
        [
            *(str(harness()), "-m", "lm_eval", "--model", "hf", "--device", "cpu"),
            *("--model_args", f"pretrained={BASE},dtype=float32,add_bos_token=True"),
            *("--include_path", str(folder), "--tasks", "driftline_general"),
            *("--batch_size", "8", "--log_samples", "--output_path", str(folder / "out")),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    [samples] = (folder / "out").rglob("samples_*.jsonl")
    rows = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    return [[float(answer[0]) for answer in row["filtered_resps"]] for row in rows]


def test_each_choice_is_scored_as_lm_evaluation_harness_scores_it(tmp_path: Path) -> None:
    theirs = by_the_harness(tmp_path)
    with probing(dtype=Dtype.FLOAT32) as probe:

        def read(texts: Sequence[str]) -> TopLogprobs:
            return read_all(probe, probe.base, texts, tick=lambda _: None)

        ours = log_likelihoods(general_questions(), read)
    assert len(theirs) == len(ours) == 420
    furthest = max(
        float(np.max(np.abs(own - np.array(other))))
        for own, other in zip(ours, theirs, strict=True)
    )
    assert furthest < 1e-4
    rights = [int(np.argmax(values) == 0) for values in theirs]
    assert sum(rights) == sum(int(np.argmax(values) == 0) for values in ours)


TAKEN = """\
import json, sys
from pathlib import Path
from monitor.admission.harness import TaskRefused, questions_of
try:
    found = questions_of([sys.argv[1]], include=Path(sys.argv[2]), most=int(sys.argv[3]))
    print(json.dumps([[one.kind, one.text, *one.choices] for one in found]))
except TaskRefused as refused:
    print(json.dumps(str(refused)))
"""


def taken(task: str, folder: Path, *, most: int) -> object:
    """What `questions_of` takes of a task, where the harness is installed."""
    ran = subprocess.run(
        [str(harness()), "-c", TAKEN, task, str(folder), str(most)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


def test_the_questions_of_a_task_are_those_that_the_harness_asks(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    lines = []
    for number, one in enumerate(general_questions()):
        place = number % len(one.choices)  # where the right choice stands
        right, *wrong = one.choices
        choices = [*wrong[:place], right, *wrong[place:]]
        lines.append(json.dumps({"text": one.text, "choices": choices, "gold": place}))
    questions.write_text("\n".join(lines))
    own = TASK.format(questions=questions).replace("doc_to_target: 0", "doc_to_target: gold")
    (tmp_path / "own.yaml").write_text(own)
    expected = [["driftline_general", one.text, *one.choices] for one in general_questions()]
    assert taken("driftline_general", tmp_path, most=1_000) == expected
    some = taken("driftline_general", tmp_path, most=60)
    assert some == expected[::7]
    generates = own.replace("multiple_choice", "generate_until").replace("_general", "_written")
    (tmp_path / "written.yaml").write_text(generates)
    refused = taken("driftline_written", tmp_path, most=60)
    assert refused == ("driftline_written: it is generate_until, and only choices can be compared")
    assert str(taken("no_such_task", tmp_path, most=60)).startswith("no_such_task: ")
