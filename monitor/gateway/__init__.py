"""The gateway: clients ask for ``support``, and the route chooses the version that answers.

An OpenAI-compatible proxy in front of the engines. :mod:`monitor.gateway.app` assembles it. While
it runs, it needs neither the database nor the rest of the service: it long-polls routes and caches
them on disk, and sends records through a bounded queue.
"""
