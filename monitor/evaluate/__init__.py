"""One adapter version, one window: read, score, judge, write."""
