"""Probes: the only code that runs a model to obtain a signal.

Embeddings come from a worker process (:mod:`monitor.probes.embedding`); perplexity is
asked of the serving engine over HTTP (:mod:`monitor.probes.perplexity`). Nothing here
imports torch outside the worker.
"""
