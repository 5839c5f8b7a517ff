"""The package that applications import: it needs the standard library alone, and no service."""
