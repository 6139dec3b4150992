"""Writes the record of a run that took place elsewhere: the document is gone through again, and no tool is run."""
