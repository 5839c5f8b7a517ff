"""Our figures beside the peers' and the limits: ``python -m benchmarks`` writes the table."""
