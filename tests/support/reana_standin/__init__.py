"""A stand-in for a REANA server: not REANA, but the same API, and the same oddities.

It serves the calls that a workflow client needs, as ``reana-server`` 0.9 does, and runs CWL workflows for real with the
installed cwltool, in the manner of REANA's CWL engine: the same shell lines around each tool, the same places in the
workspace, the same logs. What it does not do is containers: a job's "pod" is a local process, and the image is only
written down. Faults are switched on at start or while it runs (`support.reana_standin.faults`).

    python -m support.reana_standin --port 0 --folder F
"""

from support.reana_standin.process import ReanaStandin

__all__ = ["ReanaStandin"]
