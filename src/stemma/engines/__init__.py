"""Who runs a workflow. Every engine keeps the promises of ``protocol`` and passes its contract suite."""
