"""What people see, one module a thing: served as JSON, drawn on pages, read back by the CLI.

The shapes load nothing of the service; :mod:`monitor.views.reading` fills them from the store.
"""
