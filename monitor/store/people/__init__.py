"""People: their keys, the changes they declare, and what they did."""
