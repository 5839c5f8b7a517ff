"""Traffic: routes, and what changes them."""
