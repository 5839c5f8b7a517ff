"""Run a log through the detectors without a server, to see which would have fired, and when."""
