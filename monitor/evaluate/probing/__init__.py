"""The perplexity evaluation: whether a model is what was registered, and applied at all.

:func:`probe` asks, confirms, looks for company (base, replicas, siblings) and tells; what it
asked is stored as it comes, whatever follows.
"""

from monitor.evaluate.probing.asked import Occasion
from monitor.evaluate.probing.outcome import ProbeOutcome
from monitor.evaluate.probing.probe import probe

__all__ = ["Occasion", "ProbeOutcome", "probe"]
