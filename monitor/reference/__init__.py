"""Build references, from uploads or live records, and compare live texts with them.

:mod:`upload` takes NDJSON lines in, :mod:`freeze` uses a window of live records, :mod:`learned`
freezes automatically; :mod:`build` makes any of them ready. :mod:`live` embeds waiting texts and
compares them with the reference in force.
"""
