"""The HTTP interface under ``/v1``, and ``/livez``, ``/readyz``, ``/metrics`` at the root.

``app.create_app`` composes it from ``parts.ApiParts``; each module of this package is one
row of ``docs/api.md``.
"""
