"""Runs on any server of the GA4GH Workflow Execution Service (WES 1.0 and 1.1)."""
