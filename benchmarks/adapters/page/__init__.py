"""The page of the benchmark of broken adapters, drawn from a run or from its stored results."""
