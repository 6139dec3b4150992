"""Stemma: a registry of CWL workflows that knows where every result came from."""

__version__ = "0.1.0"
