"""The composition root: the only place that knows every part.

Nothing is imported here: a gateway needs neither the database nor the detectors.
"""
