"""Evaluation of one window of one adapter version: read, score, judge, write."""
