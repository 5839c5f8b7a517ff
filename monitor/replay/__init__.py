"""Run a log through the detectors without a server: what would have fired, when and why."""
