"""The composition root: the only package that knows every part.

Nothing is imported here: a gateway needs neither the database nor the detectors.
"""
