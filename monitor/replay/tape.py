"""The increments of every window, so that other budgets need no second look at the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detectors.evidence import absorb
from detectors.types import Process, Score
from monitor.evaluate.findings import DetectorQuestion, Finding, find, gather
from monitor.evaluate.settings import EvaluateSettings


class Tape:
    """Records the scores of a run; plays the same windows at another budget.

    A budget changes only the start weights of the processes. Increments depend on records
    and reference alone, so the second run costs a small part of the first. The exception is
    a reference too short to know how days differ: its windows are scored again.
    """

    def __init__(self) -> None:
        self._scores: dict[tuple[str, float, float], Score] = {}

    def record(self, question: DetectorQuestion, settings: EvaluateSettings) -> Finding:
        """Ask the detector, and keep its score."""
        finding = find(question, settings)
        if finding.score is not None:
            self._scores[_key(question)] = finding.score
        return finding

    def play(self, question: DetectorQuestion, settings: EvaluateSettings) -> Finding:
        """Absorb the increments of a recorded window at the question's own budget.

        Raises
        ------
        KeyError
            The window was not recorded: its detector had failed.
        """
        score = self._scores[_key(question)]
        if question.reference.null.unknown is not None:
            return find(question, settings)
        step = absorb(
            question.reference.null,
            question.state,
            question.window,
            score.increments,
            units={p: _units(score, p) for p in score.increments},
            budget=question.budget,
        )
        scored = replace(
            score,
            evidence_notice=step.evidence.get(Process.NOTICE, -np.inf),
            evidence_page=step.evidence.get(Process.PAGE, -np.inf),
            winner=step.winner,
        )
        return gather(question, scored, step.state, settings=settings, shown=False)


def _key(question: DetectorQuestion) -> tuple[str, float, float]:
    return question.detector.name, question.window.start, question.window.end


def _units(score: Score, process: Process) -> int:
    """Return the units of a process; hours that the reference has not seen add no increment."""
    return score.n_window if score.increments[process].any() else 0
