"""Decide whether a version may answer people: a report of checks, before any traffic."""
