"""References: what was frozen of an approved version, and its calibration."""
