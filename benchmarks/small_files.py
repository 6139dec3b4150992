"""Many small files from far away, through the whole service, against obstore alone with the same concurrency.

A run has a folder of files in an S3 bucket behind a link with 40 ms there and back as its input. Measured is from its
submission until all files are in the store, recorded, and given to the step that needs them; and of that, from when
the folder was listed on. The peer lists the folder, fetches each file with obstore in as many threads, and hashes it.

    python benchmarks/small_files.py --files 10000
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from common import BIN, Service, await_answer, started
from link import shared_link
from replication_workloads import MB
from stemma.client import Attachment, Client, PasswordTokens

RATE, DELAY = 125e6, 0.02
KEY, SECRET = "small-files", "no-secret-at-all"
WORKFLOW = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "baseCommand": ["sh", "-c", 'ls "$1" | wc -l', "step"],
    "inputs": {"folder": {"type": "Directory", "inputBinding": {"position": 1}}},
    "outputs": {"count": "stdout"},
    "stdout": "count",
}


@dataclass(frozen=True, slots=True)
class Took:
    """What it cost."""

    seconds: float
    of_that_moving: float
    """From when the run was queued, or the folder listed, on."""
    cpu_seconds: float


@contextmanager
def bucket(files: int, size: int) -> Iterator[int]:
    """An S3 server with the files; its port."""
    with tempfile.TemporaryDirectory(prefix="stemma-far-") as far:
        folder = Path(far, "data", "many")
        folder.mkdir(parents=True)
        for number in range(files):
            (folder / f"{number:05}").write_bytes(hashlib.sha256(str(number).encode()).digest() * (size // 32))
        command = [BIN / "rclone", "serve", "s3", far, "--auth-key", f"{KEY},{SECRET}", "--addr", "127.0.0.1:0"]
        with subprocess.Popen(
            [*command, "--dir-cache-time", "1h"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            try:
                line = next(line for line in process.stderr or () if "http://127.0.0.1:" in line)
                yield int(line.rsplit(":", 1)[1].strip(' /]"\n'))
            finally:
                process.terminate()


def through_the_service(port: int, streams: int) -> Took:
    """A run on a fresh service."""
    with (
        tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
        started(
            Path(folder),
            STEMMA_ALLOW_PLAIN_HTTP="true",
            STEMMA_ALLOW_PRIVATE_HOSTS=f"127.0.0.1:{port}",
            STEMMA_REPLICATION_STREAMS=str(streams),
            STEMMA_CONTAINERS="never",
        ) as (url, process),
        Client(url, PasswordTokens(url, "user_1", "password_1")) as client,
    ):
        await_answer(url)
        settings = {"bucket": "data", "endpoint": f"http://127.0.0.1:{port}", "addressing": "path", "region": "any"}
        client.remotes.add("far", "s3", settings, {"access_key_id": KEY, "secret_access_key": SECRET})
        spec = Path(folder, "main.cwl")
        spec.write_text(json.dumps(WORKFLOW))
        entry = client.workflows.register(name="many", version="1", spec=Attachment("main.cwl", spec)).id
        time.sleep(6.0)  # as any service that has been there for a while
        service = Service(client, psutil.Process(process.pid))
        cpu, began = service.cpu_seconds(), time.time()
        submitted = client.runs.submit(entry, inputs={"folder": {"class": "Directory", "location": "s3://data/many"}})
        queued = time.time()
        run = client.runs.wait(submitted.id)
        if run.state != "finished":
            raise RuntimeError(run.reason)
        after = datetime.fromisoformat(run.raw["steps"][0]["start_time"]).timestamp()
        return Took(after - began, after - queued, service.cpu_seconds() - cpu)


def obstore_alone(port: int, threads: int) -> Took:
    """The same files, with nothing around them."""
    from obstore.store import S3Store

    store = S3Store(
        "data", endpoint=f"http://127.0.0.1:{port}", region="any", access_key_id=KEY, secret_access_key=SECRET,
        virtual_hosted_style_request=False, client_options={"allow_http": True},
    )  # fmt: skip
    cpu, began = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder, ThreadPoolExecutor(threads) as pool:
        names = [meta["path"] for part in store.list("many/") for meta in part]
        listed = time.monotonic()

        def bring(name: str) -> None:
            content = bytes(store.get(name).bytes())
            Path(folder, hashlib.sha256(content).hexdigest()).write_bytes(content)

        list(pool.map(bring, names))
        ended = time.monotonic()
    return Took(ended - began, ended - listed, time.process_time() - cpu)


def main() -> None:
    """Measure both in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=16, help="connections at most, for both")
    parser.add_argument("--repetitions", type=int, default=1)
    chosen = parser.parse_args()
    with (
        bucket(chosen.files, chosen.bytes) as port,
        shared_link("127.0.0.1", port, bytes_per_second=RATE, delay_seconds=DELAY) as near,
    ):
        print(f"{chosen.files} files, {chosen.files * chosen.bytes / MB:.0f} MB, {chosen.streams} connections at most")
        for _ in range(chosen.repetitions):
            peer = obstore_alone(near, chosen.streams)
            ours = through_the_service(near, chosen.streams)
            for name, took in (("obstore", peer), ("Stemma", ours)):
                cpu = f"CPU {took.cpu_seconds:6.1f} s"
                print(f"  {name:8} {took.seconds:7.2f} s, {took.of_that_moving:7.2f} s without the listing, {cpu}")
            ratio, moving = ours.seconds / peer.seconds, ours.of_that_moving / peer.of_that_moving
            print(f"  ratio {ratio:.2f}, without the listing {moving:.2f} (goal 1.3)", flush=True)


if __name__ == "__main__":
    main()
