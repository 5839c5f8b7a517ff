"""The perplexity evaluation: whether a model is the registered one, and is applied at all.

:func:`probe` asks the model, confirms a change, and asks its company (base, replicas,
siblings). Each run is stored as it ends, whatever follows.
"""

from monitor.evaluate.probing.asked import Occasion
from monitor.evaluate.probing.outcome import ProbeOutcome
from monitor.evaluate.probing.probe import probe

__all__ = ["Occasion", "ProbeOutcome", "probe"]
