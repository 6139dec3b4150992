"""What REANA would get wrong and cannot be made right: collected while a document is prepared."""

import re
from dataclasses import dataclass, field
from typing import Final

from stemma.errors import Finding

ELSEWHERE: Final = "run it on another engine"
_NO_BASH: Final = re.compile(r"alpine|busybox|distroless|scratch")


@dataclass(slots=True)
class Refusals:
    """Findings, each once, in the order of the document."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, step: str, rule: str, reason: str, remedy: str = ELSEWHERE) -> None:
        """Refuse the step ``step`` (its path; empty for the document) for a reason."""
        where = f"step {step!r}: " if step else ""
        finding = Finding(f"{where}{reason}; {remedy}", f"reana/{rule}")
        if finding not in self.findings:
            self.findings.append(finding)


def has_no_bash(image: str) -> bool:
    """Whether an image is known to have no bash, with which REANA starts every job."""
    name = image.rpartition("@")[0] or image
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    last = repository.rpartition("/")[2]
    if "bash" in name:
        return False
    is_official = "/" not in repository or repository.startswith(("docker.io/library/", "library/"))
    return _NO_BASH.match(last) is not None or "distroless" in repository or (is_official and "alpine" in tag)
