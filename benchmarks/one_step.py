"""How long does a one-step run take, submitted to a warm service, against the ``cwltool`` command?"""

import time

import common
from stemma.client.multipart import Attachment

REPETITIONS = 9


def main() -> None:
    """Compare and print."""
    with common.service() as service:
        spec = Attachment.of_path(common.DOCUMENTS / "one-step.cwl")
        workflow = service.client.workflows.register(name="one-step", version="1", spec=spec)
        text = (common.DOCUMENTS / "text.txt").read_bytes()

        def ours() -> common.Cost:
            cpu = service.cpu_seconds()
            began = time.perf_counter()
            run = service.client.runs.submit(
                workflow.id,
                inputs={"text": {"class": "File", "location": "text.txt"}},
                files=[Attachment("text.txt", text)],
            )
            run = service.client.runs.wait(run.id)
            wall = time.perf_counter() - began
            if run.state != "finished":
                raise RuntimeError(run)
            time.sleep(0.3)  # what it still does afterwards counts as well
            return common.Cost(wall, service.cpu_seconds() - cpu)

        def peer() -> common.Cost:
            return common.cwltool(common.DOCUMENTS / "one-step.cwl", common.DOCUMENTS / "one-step.yml")

        common.compare("One-step run", ours, peer, REPETITIONS)


if __name__ == "__main__":
    main()
