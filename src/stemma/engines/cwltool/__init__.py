"""The embedded engine: cwltool, one forked process a run, facts in a journal."""
