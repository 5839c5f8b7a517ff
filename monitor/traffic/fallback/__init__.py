"""Moves of traffic away from a critical version, and back once it has recovered."""
