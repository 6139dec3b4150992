"""A pipe that a parent holds open for as long as it lives: its child ends in order when it is closed."""

import os
import signal
import threading


def end_when_closed(descriptor: int) -> None:
    """Send ourselves SIGTERM when the other end of ``descriptor`` is closed, even by a SIGKILL."""

    def watch() -> None:
        while os.read(descriptor, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
