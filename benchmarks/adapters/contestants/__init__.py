"""Other tools on the very same records, and the file by which any tool may enter.

A tool enters by writing ``<way>/<repeat>/<name>.json`` beside each ``records.jsonl`` of a run
(:mod:`benchmarks.adapters.contestants.entry`); the page then has a column for it. A tool sees
``baseline/<adapter>.jsonl`` and the records in order of arrival, and nothing else.
"""
