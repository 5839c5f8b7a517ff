"""Test whether an adapter's monitoring sees drifts, and stays quiet without one.

A self-test replays the adapter's own baseline through the product's own detectors, with and without
an injected drift, at the current traffic and share of the budget.
"""
