"""A shared link to stand before a server: one rate that all connections share, a delay each way, a limit for each.

``python benchmarks/link.py --to 127.0.0.1:9000 --rate 12.5e6 --delay 0.02`` prints its port and serves until it is
ended. Each direction has the whole rate, as on a line that sends and receives at once. A connection is relayed after
one round trip, which is what opening it costs on a real link.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK = 16 * 1024
BURST_SECONDS = 0.02
"""So much unused time may be made up for: sleeping is not exact."""


class Bucket:
    """Tokens that come at a rate; whoever asks first gets first."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._free = 0.0

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes may pass."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now - BURST_SECONDS) + size / self._rate
        if self._free > now:
            await asyncio.sleep(self._free - now)


class SharedLink:
    """A TCP proxy to one server."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        bytes_per_second: float,
        delay_seconds: float = 0.0,
        connection_bytes_per_second: float | None = None,
    ) -> None:
        self._target = (host, port)
        self._delay = delay_seconds
        self._limit = connection_bytes_per_second
        self._down = Bucket(bytes_per_second)
        self._up = Bucket(bytes_per_second)
        self._queued = max(16, int(2 * bytes_per_second * delay_seconds / CHUNK) + 16)
        """Chunks on their way in one connection: what fills the delay, and some."""

    async def listen(self) -> asyncio.Server:
        """Serve on a free port of this machine."""
        return await asyncio.start_server(self._relay, "127.0.0.1", 0, limit=CHUNK)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._delay)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._carry(reader, far_writer, self._up)),
            asyncio.create_task(self._carry(far_reader, writer, self._down)),
        ]
        try:
            await asyncio.gather(*ways)
        except (OSError, asyncio.CancelledError):
            for way in ways:
                way.cancel()
        finally:
            for one in (writer, far_writer):
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shared: Bucket) -> None:
        """One direction, until it is closed."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(self._queued)
        deliver = asyncio.create_task(self._deliver(queue, writer))
        own = Bucket(self._limit)
        clock = asyncio.get_running_loop().time
        try:
            while chunk := await reader.read(CHUNK):
                await own.take(len(chunk))
                await shared.take(len(chunk))
                await queue.put((clock() + self._delay, chunk))
            await queue.put((clock() + self._delay, b""))
            await deliver
        finally:
            deliver.cancel()

    @staticmethod
    async def _deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            when, chunk = await queue.get()
            if when > clock():
                await asyncio.sleep(when - clock())
            if not chunk:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


@contextmanager
def shared_link(
    host: str,
    port: int,
    *,
    bytes_per_second: float,
    delay_seconds: float = 0.0,
    connection_bytes_per_second: float | None = None,
) -> Iterator[int]:
    """A link in a process of its own: its port. Ended afterwards."""
    command = [sys.executable, str(Path(__file__)), "--to", f"{host}:{port}", "--rate", str(bytes_per_second)]
    command += ["--delay", str(delay_seconds)]
    if connection_bytes_per_second is not None:
        command += ["--each", str(connection_bytes_per_second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int((process.stdout.readline() if process.stdout else "") or 0)
        finally:
            process.terminate()


async def _serve(options: argparse.Namespace) -> None:
    host, _, port = options.to.rpartition(":")
    link = SharedLink(
        host,
        int(port),
        bytes_per_second=options.rate,
        delay_seconds=options.delay,
        connection_bytes_per_second=options.each,
    )
    server = await link.listen()
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server behind the link")
    parser.add_argument("--rate", type=float, required=True, help="bytes a second, all connections together")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds each way")
    parser.add_argument("--each", type=float, help="bytes a second that one connection gets at most")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
