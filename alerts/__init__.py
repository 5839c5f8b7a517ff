"""Decide who is told about an incident, when and through which channel, and deliver it.

Pure decisions (``incident``, ``telling``, ``silences``, ``matching``, ``retry``), the message
(``message``, ``words``, ``formats``, ``grouped``), and the network code (``channels`` through
``outgoing``). Nothing here knows statistics, the database or the service.
"""
