"""Content under its digest."""
