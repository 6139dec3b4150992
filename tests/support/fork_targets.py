"""What the fork server's tests have it serve."""

import os
import signal
from collections.abc import Iterator

from stemma.forkserver import Channel, ForkServerGone

prepared: list[str] = []


def preload() -> Iterator[None]:
    """Two steps of preparation."""
    prepared.append("first")
    yield
    prepared.append("second")
    yield


def serve(channel: Channel) -> None:
    """Do what the message says."""
    message = channel.receive()
    match message["do"]:
        case "echo":
            channel.send(message["words"])
        case "tell":
            names = [name for name in os.environ if name.startswith("STEMMA")]  # noqa: TID251 - the point
            told = {"pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "names": names}
            channel.send({**told, "prepared": prepared})
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("as asked")
        case "notice":
            place = message["place"]
            try:
                while True:
                    channel.send("still there?")
            except ForkServerGone:
                with open(place, "w") as file:  # noqa: PTH123 - a test's own file
                    file.write("gone")
        case "linger":
            channel.send({"pid": os.getpid()})
            signal.pause()
