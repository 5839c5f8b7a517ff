"""Read one whole incident: its facts, timeline, blame, actions and signals.

It is read in one place, so that the page, the API, the command line and the image that a message
links to show the same.
"""
