"""How records come in: decoded, checked one by one, sampled, measured, stored, acknowledged."""
