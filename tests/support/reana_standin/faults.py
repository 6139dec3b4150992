"""What goes wrong, and how the cluster is set up: changed at start and while the server runs."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Faults(BaseModel):
    """Each field is one switch; the defaults are a healthy server with REANA's own limits."""

    model_config = ConfigDict(extra="forbid")

    # Requests. A fault that counts is used up by one request each; ``routes`` says which requests it concerns:
    # a regular expression that is searched in "METHOD /path".
    rate_limit: Count = 20
    """Requests a second and client; 0 for none."""
    routes: str = ""
    bad_gateway: Count = 0
    """So many answers are 502 with a page of HTML, before anything has happened."""
    odd_404: Count = 0
    """So many answers are 404 with REANA's odd text, before anything has happened."""
    lost_answers: Count = 0
    """So many requests have their effect, and the connection is closed instead of an answer."""
    slow_seconds: Seconds = 0
    cut_upload_after: Count | None = None
    cut_download_after: Count | None = None
    """The connection is cut after so many bytes, ``cuts`` times in all."""
    cuts: Count = 1
    revoked: list[str] = []
    """Users whose token is revoked."""
    over_quota: list[Literal["create", "upload", "start"]] = []

    # Runs.
    queued_seconds: Seconds = 0
    queued_forever: bool = False
    pending_seconds: Seconds = 0
    pending_forever: bool = False
    lost_logs: bool = False
    """The logs of jobs stay empty."""
    late_logs_seconds: Seconds = 0
    """A run is at its end so much earlier than its ``workflow_logs`` and the logs of its last jobs are there."""
    log_tail_bytes: int = Field(10 * 2**20, gt=0)
    """Only so much of the end of a log is kept, as where the node rotates it."""
    clock_skew_seconds: float = 0
    without_bash: list[str] = ["busybox*", "alpine*"]
    """Images (shell patterns, without ``docker.io/library/``) in which a job cannot start."""

    def lacks_bash(self, image: str) -> bool:
        """Whether ``bash`` is not in ``image``."""
        name = image.removeprefix("docker.io/").removeprefix("library/")
        return any(fnmatchcase(name, pattern) for pattern in self.without_bash)
