"""The demo: real adapters, real traffic, five acts, and what Driftline makes of them.

``python -m examples.demo`` (or ``make demo``) starts an engine with adapter versions, a
webhook receiver, the service itself and its gateway, each a process or server of its own that
is spoken to over HTTP. The service runs in no demo mode: ``demo.toml`` sets its durations to
seconds.
"""
