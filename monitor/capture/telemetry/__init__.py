"""Read OpenTelemetry spans of language models' calls as records.

``otlp`` takes a request apart into spans, ``conventions`` has a table of attribute names for each
convention, and ``calls`` reads a span by them into a record. A new convention is one table.
"""
