"""Reads CWL documents, never runs them."""
