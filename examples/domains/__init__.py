"""Templates and word lists, one module per domain."""
