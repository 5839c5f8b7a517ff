"""The gateway: clients ask for ``support``, the route says which version answers.

An OpenAI-compatible proxy before the engines. :mod:`monitor.gateway.app` puts it together;
it needs neither the database nor the rest of the service while it runs: routes come by
long-poll and are kept on disk, records leave through a bounded queue.
"""
