"""Self-tests: whether an adapter's monitoring sees what it should, and is quiet otherwise.

A self-test replays the adapter's own baseline through the product's own detectors, with and
without an injected drift, at today's traffic and today's share of the budget.
"""
