"""The HTTP interface under ``/v1``, and ``/livez``, ``/readyz``, ``/metrics`` at the root.

``app.create_app`` composes it from ``parts.ApiParts``; ``/docs`` lists what it answers.
"""
