"""The whole service at work: N adapters with references, records, evaluations and probes."""
