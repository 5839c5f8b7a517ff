"""Take the questions of tasks of lm-evaluation-harness, where that is installed.

The harness writes each question and its choices itself, few-shot examples included, so that a model
is asked what the harness would ask it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.admission.choices import Question


class TaskRefused(Exception):  # noqa: N818 (it says what happened)
    """A task is unknown, its data is missing, or it is no choice between continuations."""


def questions_of(names: Sequence[str], *, include: Path | None, most: int) -> list[Question]:
    """Return the questions of tasks or groups, an equal share of each, evenly over its documents.

    Parameters
    ----------
    include
        Folder of further tasks; the harness's own are always known.
    most
        Questions in all.

    Raises
    ------
    TaskRefused
        Names the task, and what to do.
    """
    try:
        from lm_eval.tasks import TaskManager  # noqa: PLC0415 (an environment of its own has it)
    except ImportError:
        raise TaskRefused("lm-evaluation-harness is not installed: pip install lm-eval") from None
    manager = TaskManager(include_path=None if include is None else str(include))
    tasks: dict[str, Any] = {}
    for name in names:
        try:
            tasks |= dict(_tasks(manager.load_task_or_group([name])))
        except Exception as error:  # the harness and its data sets raise anything
            raise TaskRefused(f"{name}: {str(error) or type(error).__name__}") from error
    share = max(1, most // max(1, len(tasks)))
    return [one for name, task in tasks.items() for one in _questions(name, task, most=share)]


def _tasks(loaded: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tasks of nested groups."""
    for name, one in loaded.items():
        if isinstance(one, Mapping):
            yield from _tasks(one)
        else:
            yield str(name), one


def _questions(name: str, task: Any, *, most: int) -> Iterator[Question]:
    if task.OUTPUT_TYPE != "multiple_choice":
        raise TaskRefused(f"{name}: it is {task.OUTPUT_TYPE}, and only choices can be compared")
    count = len(task.eval_docs)
    taken = min(most, count)
    chosen = [number * count // taken for number in range(taken)]
    task.build_all_requests(samples=chosen or None, rank=0, world_size=1)
    asked: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        asked[instance.doc_id].append(instance)
    for instances in asked.values():
        yield _question(name, task, instances)


def _question(name: str, task: Any, instances: Sequence[Any]) -> Question:
    doc = instances[0].doc
    choices, gold = task.doc_to_choice(doc), task.doc_to_target(doc)
    if isinstance(gold, str):
        gold = choices.index(gold)
    each = [_split(*instance.arguments[:2]) for instance in instances[: len(choices)]]
    texts = {text for text, _ in each}
    if len(texts) != 1 or not isinstance(gold, int):
        raise TaskRefused(f"{name}: its choices do not go on with one text, or several are right")
    right = each.pop(gold)
    return Question(
        kind=name, text=texts.pop(), choices=(right[1], *(choice for _, choice in each))
    )


def _split(text: str, choice: str) -> tuple[str, str]:
    """Move the spaces between both to the choice, as the harness does before it reads them.

    >>> _split("Answer: ", "yes")
    ('Answer:', ' yes')
    """
    kept = text.rstrip()
    return kept, text[len(kept) :] + choice
