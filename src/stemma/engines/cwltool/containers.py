"""What is known of containers: which engine answers, which image it was, what they used."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from stemma.errors import Finding
from stemma.records import RevisionRecord, StepDefinition, StepKind

_PROBE_SECONDS = 5.0
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What a process or container used; None where nobody knows."""

    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None


def answering_engine() -> dict[str, str] | None:
    """Name and version of the container engine that answers; None when none does."""
    if shutil.which("docker") is None:
        return None
    version = _docker("version", "--format", "{{.Server.Version}}")
    return {"name": "docker", "version": version} if version else None


@cache
def image_digest(image: str) -> str | None:
    """The digest of a local image: the registry's where it has one, else that of the image itself."""
    text = _docker("image", "inspect", "--format", "{{json .RepoDigests}} {{.Id}}", image)
    if not text:
        return None
    digests, _, identifier = text.rpartition(" ")
    names: list[str] = json.loads(digests) or []
    return names[0].rpartition("@")[2] if names else identifier


def container_use(container: str) -> ResourceUse | None:
    """What the running container has used so far; None when its control group cannot be read."""
    folders = _groups(container)
    if (unified := folders.get("unified")) is not None:
        return _unified_use(unified)
    if {"memory", "cpuacct"} & folders.keys():
        return _legacy_use(folders)
    return None


def check_images(revision: RevisionRecord, policy: str, engine: dict[str, str] | None) -> list[Finding]:
    """Why the tools of ``revision`` could not run as the container policy asks."""
    findings = []
    for step in all_steps(revision.structure.steps):
        message = _obstacle(step, policy, engine)
        if message is not None:
            findings.append(Finding(message, "engine/containers", step.run.partition("#")[0] or None))
    return findings


def _obstacle(step: StepDefinition, policy: str, engine: dict[str, str] | None) -> str | None:
    if step.kind is not StepKind.TOOL or policy == "never":
        return None
    if policy == "required" and step.image is None:
        return f"step {step.path!r} names no container image, and STEMMA_CONTAINERS=required lets none run without one"
    if engine is None and step.image is not None and (policy == "required" or step.image_required):
        return (
            f"step {step.path!r} requires the container image {step.image!r}, and no container engine answers here; "
            "start Docker, or set STEMMA_CONTAINERS=never to run it on the host"
        )
    return None


def all_steps(steps: tuple[StepDefinition, ...]) -> Iterator[StepDefinition]:
    """All steps, those of sub-workflows after their own."""
    for step in steps:
        yield step
        yield from all_steps(step.steps)


def names_images(steps: tuple[StepDefinition, ...]) -> bool:
    """Whether any step names a container image."""
    return any(step.image is not None for step in all_steps(steps))


def _docker(*arguments: str) -> str | None:
    """What the engine's command says; None when it fails or does not answer."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(
            ["docker", *arguments],  # noqa: S607 - whichever engine the PATH names
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
        )
        return answer.stdout.strip() if answer.returncode == 0 else None
    return None


def _groups(container: str) -> dict[str, Path]:
    """The control groups of the container, by controller, where the usual drivers put them."""
    places = (f"docker/{container}", f"system.slice/docker-{container}.scope")
    found = {}
    for controller in ("memory", "cpuacct", "blkio"):
        for place in places:
            if (folder := _CGROUPS / controller / place).is_dir():
                found[controller] = folder
    for place in places:
        if (folder := _CGROUPS / place).is_dir():
            found["unified"] = folder
    return found


def _unified_use(folder: Path) -> ResourceUse:
    microseconds = _field(_text(folder / "cpu.stat"), "usage_usec")
    transfers = _text(folder / "io.stat").replace("=", " ").split()
    return ResourceUse(
        microseconds / 1e6 if microseconds is not None else None,
        _number(_text(folder / "memory.peak")),
        _sum_after(transfers, "rbytes"),
        _sum_after(transfers, "wbytes"),
    )


def _legacy_use(folders: dict[str, Path]) -> ResourceUse:
    nowhere = Path("/nonexistent")
    nanoseconds = _number(_text(folders.get("cpuacct", nowhere) / "cpuacct.usage"))
    transfers = _text(folders.get("blkio", nowhere) / "blkio.throttle.io_service_bytes_recursive").split()
    return ResourceUse(
        nanoseconds / 1e9 if nanoseconds is not None else None,
        _number(_text(folders.get("memory", nowhere) / "memory.max_usage_in_bytes")),
        _sum_after(transfers, "Read"),
        _sum_after(transfers, "Write"),
    )


def _text(file: Path) -> str:
    """The content of a file of the kernel; empty when it is gone."""
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _field(text: str, name: str) -> int | None:
    words = text.split()
    return int(words[words.index(name) + 1]) if name in words else None


def _sum_after(words: list[str], name: str) -> int | None:
    """The sum of the numbers that follow ``name``, over all devices; None when the kernel keeps no account."""
    if not words:
        return None
    return sum(int(number) for word, number in pairwise(words) if word == name)
