"""Inspect an adapter's weights, reading safetensors with numpy alone.

Nothing is executed and nothing is loaded whole: a file's format is checked before any of its
numbers are read, and numbers are read block by block.
"""
