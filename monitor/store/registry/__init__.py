"""The registry: adapters, their versions and the versions' weights."""
