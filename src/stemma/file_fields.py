"""The fields of ours in File and Directory objects (CWL v1.2, CommandLineTool §5.1)."""

from typing import Final

OCCURRENCE: Final = "stemma:occurrence"
"""The uuid of its occurrence: tells recorded Files and Directories apart, and is ours alone to write."""
LATE: Final = "stemma:late"
"""True in a File whose bytes are still to come."""
ELSEWHERE: Final = "stemma:elsewhere"
"""True in a File that the engine's server reads where it lies."""
