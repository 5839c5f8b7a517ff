"""The benchmark of broken adapters: what goes wrong in production, and who sees it."""
