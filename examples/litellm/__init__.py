"""What stands beside LiteLLM's config: the callback, which needs nothing of this checkout."""
