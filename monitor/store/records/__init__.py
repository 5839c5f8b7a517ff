"""Captured records: their columns, texts, vectors, words and counts."""
