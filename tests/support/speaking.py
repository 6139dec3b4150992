"""A server that says certain bytes, whatever it is asked: for what no library of servers would send."""

import socket
import threading
from contextlib import contextmanager


@contextmanager
def speaking(*said, pause=0.0, on_gone=lambda: None):
    """A server that says these very bytes to whoever connects, with pauses between, and hangs up.

    ``on_gone`` is called where who asked hangs up before that.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                for part in said:
                    try:
                        client.sendall(part)
                    except OSError:
                        on_gone()
                        break
                    if over.wait(pause):
                        break

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
