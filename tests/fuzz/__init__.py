"""Calls of everything public with whatever a caller can come up with; `python -P tests/fuzz --help` runs many."""
