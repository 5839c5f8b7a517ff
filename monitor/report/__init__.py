"""Build Evidently's data-drift and text report of one adapter version on request.

Nothing in the service waits for it and no verdict follows from it. Evidently costs some 270 MB and
2.6 s to load, so it runs in its own process that ends with the report.
"""
