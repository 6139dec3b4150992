"""Runs on a REANA server."""
