"""Evaluations: tasks, scores, states, verdicts, and what probes found."""
