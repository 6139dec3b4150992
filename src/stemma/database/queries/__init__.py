"""The queries, one module a subject; each takes a session first and never commits."""
