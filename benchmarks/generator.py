"""Asks for paths drawn at random over kept connections, and prints what ``load.lua`` prints: where there is no ``wrk``.

Two processes share the connections. Slower than ``wrk``, so the faster server loses more by it: a ratio from here is a
little too good.
"""

import json
import multiprocessing
import random
import socket
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PROCESSES = 2
_READ_BYTES = 256 * 1024


def main() -> None:
    """Ask as the command line says."""
    url, connections, seconds, paths, token, seed, pause = sys.argv[1:]
    each = max(1, int(connections) // PROCESSES)
    head = f"Host: {urlsplit(url).netloc}\r\nAuthorization: Bearer {Path(token).read_text().strip()}\r\n\r\n"
    requests = [f"GET {path} HTTP/1.1\r\n{head}".encode() for path in Path(paths).read_text().split()]
    shares = [Share(url, requests, float(seconds), each, int(seed) + one, float(pause)) for one in range(PROCESSES)]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        found = pool.map(ask, shares)
    times = [one for taken, _ in found for one in taken]
    failed = sum(count for _, count in found)
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [0.0] * 99
    told = {
        "requests": len(times),
        "seconds": float(seconds),
        "failed": failed,
        "p50": 1000 * cuts[49],
        "p99": 1000 * cuts[98],
    }
    print(json.dumps(told))


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does."""

    url: str
    requests: list[bytes]
    seconds: float
    connections: int
    seed: int
    pause: float


def ask(share: Share) -> tuple[list[float], int]:
    """Do it: what each request took, and how many failed."""
    times: list[float] = []
    failures: list[str] = []
    until = time.monotonic() + share.seconds
    address = (urlsplit(share.url).hostname or "", urlsplit(share.url).port or 80)

    def one_connection(number: int) -> None:
        chosen = random.Random(share.seed * 1000 + number)
        try:
            with socket.create_connection(address, 10) as connected:
                while time.monotonic() < until:
                    began = time.perf_counter()
                    connected.sendall(chosen.choice(share.requests))
                    if not answered(connected):
                        failures.append("refused")
                    times.append(time.perf_counter() - began)
                    if share.pause:
                        time.sleep(chosen.uniform(0, 2 * share.pause) / 1000)
        except OSError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=one_connection, args=(number,)) for number in range(share.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, len(failures)


def answered(connected: socket.socket) -> bool:
    """Read one answer to its end; whether it is what was asked for."""
    received = connected.recv(_READ_BYTES)
    while b"\r\n\r\n" not in received:
        received += _more(connected)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    left = length - len(body)
    while left > 0:
        left -= len(_more(connected))
    return head.startswith(b"HTTP/1.1 200")


def _more(connected: socket.socket) -> bytes:
    received = connected.recv(_READ_BYTES)
    if not received:
        raise ConnectionError("the server hung up")
    return received


if __name__ == "__main__" and len(sys.argv) > 1:
    main()
