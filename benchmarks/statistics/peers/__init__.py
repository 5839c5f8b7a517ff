"""Other drift detectors with their own defaults, each in an environment of its own."""
