"""Adapters' files from where they are kept: fetched, verified, and held in a cache.

A version's address may be a folder, or ``hf://``, ``s3://`` or ``gs://``; and there may be a store
of adapters by identity. Only config and weights are copied, up to a limit, from hubs and object
stores by a process of its own. Nothing is used whose hash is not that of the registration.
"""
