"""One adapter version, one window: read, compute, judge, write."""

from monitor.evaluate.evaluator import Ending, Evaluator, Reaction, Tools
from monitor.evaluate.message import Messages
from monitor.evaluate.settings import EvaluateSettings, Margins

__all__ = [
    "Ending",
    "EvaluateSettings",
    "Evaluator",
    "Margins",
    "Messages",
    "Reaction",
    "Tools",
]
