"""References: uploaded or frozen, built by a worker, and used on live texts.

:mod:`upload` takes NDJSON lines in, :mod:`freeze` names a window of live records,
:mod:`learned` freezes by itself; :mod:`build` makes any of them ready. :mod:`live` embeds
waiting texts and compares them with the reference in force.
"""
