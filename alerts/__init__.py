"""Incidents and their delivery: who is told what, when, and over which channel.

Pure decisions (``incident``, ``telling``, ``silences``, ``matching``, ``retry``), the message
(``message``, ``words``, ``formats``, ``grouped``), and what touches the network (``channels``
through ``outgoing``). Nothing here knows statistics, the database or the service.
"""
