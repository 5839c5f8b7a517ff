"""The history of the schema, run by ``driftline migrate`` and at every start."""
