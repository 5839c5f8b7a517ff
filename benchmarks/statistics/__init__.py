"""The published proof: false alarms, delays and power of the product's own statistics."""
