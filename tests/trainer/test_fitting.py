"""A real training in a process of its own: what it learns, and what ends it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from safetensors.numpy import load_file

from monitor.probes.inputs import AnsweredText
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.trainer import files, fitting
from monitor.trainer.errors import TrainingFailed, TrainingLost, TrainingRefused
from monitor.trainer.examples import ChatTurn, Example, write
from monitor.trainer.files import FitPlan
from monitor.trainer.fit import ParentVersion, fit, parent_weights
from monitor.trainer.settings import TrainerSettings
from tests.trainer.trainee import example

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    numbers = range(96)
    write(tmp_path / files.TRAINING, [example(n) for n in numbers[:64]])
    write(tmp_path / files.HELD_OUT, [example(n) for n in numbers[64:84]])
    write(tmp_path / files.EARLIER, [example(n) for n in numbers[84:]])
    return tmp_path


def plan_of(models: tuple[Path, Path], **changed: object) -> FitPlan:
    base, adapter = models
    plan = FitPlan(
        base=str(base),
        parent=str(adapter),
        identity="",
        data="",
        new=64,
        least=20,
        epochs=3,
        learning_rate=3e-2,
        batch=8,
        context=64,
        patience=9,
        looks=2,
        seed=3,
        max_s=600,
    )
    return msgspec.structs.replace(plan, **changed)


def test_it_learns_from_the_parent_on_and_leaves_an_adapter_of_the_parents_kind(
    models: tuple[Path, Path], folder: Path
) -> None:
    told: list[float] = []
    found = fit(folder, plan_of(models), memory=0, tell=lambda done, _: told.append(done))
    assert found.held_out_nll < found.parent_nll - 0.1
    assert (found.examples, found.left_out) == (64, 0)
    assert (len(found.training), len(found.held_out), len(found.earlier)) == (64, 20, 12)
    assert "Light 84 to red" in str(found.earlier[0])
    assert max(told) > 0.3
    with opened_adapter(folder / files.ADAPTER) as made, opened_adapter(models[1]) as parent:
        assert made.identity != parent.identity
        assert (made.config.r, made.config.lora_alpha) == (2, 4)
        assert made.config.base_model_name_or_path == str(models[0])
    new, old = (
        load_file(one / "adapter_model.safetensors") for one in (folder / "adapter", models[1])
    )
    assert {name: tensor.dtype for name, tensor in new.items()} == {
        name: tensor.dtype for name, tensor in old.items()
    }
    again = fit(folder, plan_of(models), memory=0, tell=_never)
    assert again == found


def _never(_done: float, _note: str) -> None:
    raise AssertionError("it is trained already")


def test_one_that_was_killed_goes_on_from_its_checkpoint(
    models: tuple[Path, Path], folder: Path
) -> None:
    plan = plan_of(models, epochs=6)
    (folder / files.PLAN).write_bytes(msgspec.json.encode(plan))
    words = [sys.executable, "-m", "monitor.trainer.fitting", str(folder)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as first:
        _wait_until(lambda: len(list((folder / files.CHECKPOINTS).glob("checkpoint-*"))) > 1)
        first.send_signal(signal.SIGKILL)
    oldest = min(_steps(folder))
    torn = folder / files.CHECKPOINTS / "checkpoint-9999"
    torn.mkdir()
    (torn / "trainer_state.json").write_text("{")
    (folder / files.PROGRESS).unlink()
    steps: list[str] = []
    found = fit(folder, plan, memory=0, tell=lambda _, note: steps.append(note))
    assert found.held_out_nll < found.parent_nll - 0.1
    assert not torn.exists()
    first_step = next(note for note in steps if note.startswith("step"))
    assert int(first_step.split()[1]) > oldest, "not from the beginning"


def _steps(folder: Path) -> list[int]:
    found = (folder / files.CHECKPOINTS).glob("checkpoint-*")
    return [int(one.name.rpartition("-")[2]) for one in found]


def _wait_until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_what_exceeds_its_memory_or_is_taken_away_is_ended(
    models: tuple[Path, Path], folder: Path
) -> None:
    with pytest.raises(TrainingFailed, match="needs more than 1,000,000 bytes"):
        fit(folder, plan_of(models), memory=1_000_000, tell=_nothing)

    def taken(_done: float, _note: str) -> None:
        raise TrainingLost("another worker has it")

    with pytest.raises(TrainingLost):
        fit(folder, plan_of(models), memory=0, tell=taken)
    assert not (folder / files.RESULT).exists()


def test_examples_that_are_all_too_long_say_so(models: tuple[Path, Path], folder: Path) -> None:
    with pytest.raises(TrainingRefused, match=r"^0 of 64 new examples fit into 3 tokens"):
        fit(folder, plan_of(models, context=3), memory=0, tell=_nothing)


def test_one_that_learns_nothing_is_refused(models: tuple[Path, Path], folder: Path) -> None:
    with pytest.raises(TrainingRefused, match=r"^it learned nothing: held-out answers cost"):
        fit(folder, plan_of(models, learning_rate=1e-12, epochs=1), memory=0, tell=_nothing)


def _nothing(_done: float, _note: str) -> None:
    pass


def test_only_the_last_answer_is_learned(models: tuple[Path, Path]) -> None:
    tokenizer = fitting._tokenizer(plan_of(models))  # noqa: SLF001 (what it learns from)
    turns = (
        ("user", "Is it red?"),
        ("assistant", "Never."),
        ("user", "Sure?"),
        ("assistant", "Yes."),
    )
    chat = Example(messages=tuple(ChatTurn(*turn) for turn in turns))
    bare = Example(text="A bare text.")
    unanswered = Example(prompt="Is it red?")
    found = fitting._encoded(tokenizer, [chat, bare, unanswered], 64)  # noqa: SLF001
    learned = [tokenizer.decode([label for label in one.labels if label != -100]) for one in found]
    said = [text.replace("<s>", "").replace("</s>", "").strip() for text in learned]
    assert said == ["Yes.", "A bare text."]
    shown, whole = fitting._shown(found)  # noqa: SLF001
    assert isinstance(shown, AnsweredText)
    assert shown.text[shown.answer_at :].removesuffix("</s>").strip() == "Yes."
    assert whole == "A bare text."
    assert (
        found[0].ids
        == tokenizer(
            tokenizer.apply_chat_template(
                [{"role": role, "content": said} for role, said in turns], tokenize=False
            ),
            add_special_tokens=False,
        )["input_ids"]
    )


def test_the_parent_must_be_what_was_registered_and_its_base_at_hand(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    base, adapter = models
    with opened_adapter(adapter) as opened:
        identity = opened.identity
    parent = ParentVersion(
        adapter="a", version="v1", uri=str(adapter), sha256=identity, base_model="org/gone"
    )
    found = parent_weights(TrainerSettings(), parent)
    assert (found.base, found.identity) == (str(base), identity)  # as its own config says
    named = parent_weights(TrainerSettings(base=str(tmp_path)), parent)
    assert named.base == str(tmp_path)
    for changed, said in (
        ({"uri": None}, "a@v1 is registered without a folder"),
        ({"uri": str(tmp_path / "none")}, "the weights of a@v1"),
        ({"sha256": "0" * 64}, "are not those of its registration"),
    ):
        with pytest.raises(TrainingRefused, match=said):
            parent_weights(TrainerSettings(), msgspec.structs.replace(parent, **changed))
