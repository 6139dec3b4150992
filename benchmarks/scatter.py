"""How long do 1000 trivial scattered steps take, everything recorded, against ``cwltool --parallel``?"""

import json
import tempfile
import time
from pathlib import Path

import common
from stemma.client.multipart import Attachment

REPETITIONS = 3
STEPS = 1000


def main() -> None:
    """Compare and print."""
    inputs = {"words": [f"word {number}" for number in range(STEPS)]}
    with common.service() as service, tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "inputs.json"
        job.write_text(json.dumps(inputs))
        spec = Attachment.of_path(common.DOCUMENTS / "scatter.cwl")
        workflow = service.client.workflows.register(name="scatter", version="1", spec=spec)

        def ours() -> common.Cost:
            cpu = service.cpu_seconds()
            began = time.perf_counter()
            run = service.client.runs.submit(workflow.id, inputs=inputs)
            run = service.client.runs.wait(run.id)
            wall = time.perf_counter() - began
            if run.state != "finished" or len(run.steps) != STEPS:
                raise RuntimeError(run.state)
            time.sleep(0.3)
            return common.Cost(wall, service.cpu_seconds() - cpu)

        def peer() -> common.Cost:
            return common.cwltool("--parallel", common.DOCUMENTS / "scatter.cwl", job)

        common.compare(f"Scatter of {STEPS} steps", ours, peer, REPETITIONS)


if __name__ == "__main__":
    main()
