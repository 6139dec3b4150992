"""How soon does a run start its first step whose inputs are elsewhere, and in the store since an earlier run?

Against the same run with the same files named by their digests, which are local from the beginning: the time from the
submission to the start of the first step, in turns on one service.
"""

import argparse
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from common import await_answer, started
from link import shared_link
from replication import far_servers
from replication_service import document
from replication_workloads import Workload, serial
from stemma.client import Attachment, Client, PasswordTokens


def first_step_seconds(client: Client, entry: int, inputs: dict[str, Any]) -> float:
    """From the submission to the first step's start."""
    began = time.time()
    run = client.runs.wait(client.runs.submit(entry, inputs=inputs).id)
    if run.state != "finished":
        raise RuntimeError(run.reason)
    return min(datetime.fromisoformat(step["start_time"]).timestamp() for step in run.raw["steps"]) - began


def measure(work: Workload, url: str, near: str, folder: Path, repetitions: int) -> tuple[list[float], list[float]]:
    """Both ways in turns: with files elsewhere that are here, with local ones."""
    with Client(url, PasswordTokens(url, "user_1", "password_1")) as client:
        spec = folder / "main.cwl"
        spec.write_text(document(work))
        entry = client.workflows.register(name="work", version="1", spec=Attachment("main.cwl", spec)).id
        names = [f"f{number}" for number in range(len(work.files))]
        remote = {
            name: {"class": "File", "location": f"{near}/{file}"} for name, file in zip(names, work.files, strict=True)
        }
        first = client.runs.wait(client.runs.submit(entry, inputs=remote).id)
        digests = {name: first.raw["inputs"][name]["checksum"].replace("$", ":") for name in names}
        local = {name: {"class": "File", "location": f"stemma:{digests[name]}"} for name in names}
        ours: list[float] = []
        peers: list[float] = []
        for _ in range(repetitions + 1):
            peers.append(first_step_seconds(client, entry, local))
            ours.append(first_step_seconds(client, entry, remote))
    return ours[1:], peers[1:]


def main() -> None:
    """Measure and print, with and without a round trip to where the files lie."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=10)
    chosen = parser.parse_args()
    work = serial("inputs here", 2, 1_000_000, 0.0)
    for delay in (0.0, 0.02):
        with (
            far_servers([work]) as ports,
            shared_link("127.0.0.1", ports[work.name], bytes_per_second=12.5e6, delay_seconds=delay) as near,
            tempfile.TemporaryDirectory(prefix="stemma-bench-") as folder,
            started(
                Path(folder),
                STEMMA_ALLOW_PLAIN_HTTP="true",
                STEMMA_ALLOW_PRIVATE_HOSTS=f"127.0.0.1:{near}",
                STEMMA_CONTAINERS="never",
            ) as (url, _),
        ):
            await_answer(url)
            ours, peers = measure(work, url, f"http://127.0.0.1:{near}", Path(folder), chosen.repetitions)
        ratio = statistics.median(ours) / statistics.median(peers)
        apart = statistics.median(ours) - statistics.median(peers)
        print(
            f"{2000 * delay:.0f} ms there and back: in the store since an earlier run {statistics.median(ours):.3f} s, "
            f"local {statistics.median(peers):.3f} s, ratio {ratio:.2f} (goal 1.1), {1000 * apart:.0f} ms more"
        )


if __name__ == "__main__":
    main()
