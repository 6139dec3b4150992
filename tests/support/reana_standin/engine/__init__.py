"""One run in one process: cwltool, whose tool jobs are handed to the cluster, in the manner of REANA's CWL engine."""
