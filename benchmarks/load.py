"""A light HTTP/1.1 client for benchmarks: keep-alive connections and as little work as possible per request."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit


class Connection:
    """One request at a time over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str) -> "Connection":
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line[:15].lower() == b"content-length:")
        return int(lines[0].split(b" ", 2)[1]), await self.reader.readexactly(length)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def post(url: str, path: str, body: bytes, headers: str = "") -> bytes:
    """The bytes of a request with a JSON body."""
    host = urlsplit(url).netloc
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Load:
    """Requests per second that were answered, the milliseconds of each, and what those were told that were refused."""

    rate: float
    milliseconds: list[float]
    refused: list[bytes]

    def quantile(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def saturate(url: str, request: bytes, seconds: float, connections: int) -> Load:
    """As many requests as the connections can carry, each sending the next one when it has its answer."""
    taken: list[float] = []
    refused: list[bytes] = []
    until = time.perf_counter() + seconds

    async def client() -> None:
        connection = await Connection.open(url)
        while (began := time.perf_counter()) < until:
            status, body = await connection.send(request)
            taken.append((time.perf_counter() - began) * 1000)
            if status >= 300:
                refused.append(body)
        await connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return Load(len(taken) / (time.perf_counter() - began), taken, refused)


async def arrive(url: str, request: bytes, seconds: float, rate: float, connections: int = 64) -> Load:
    """Requests at a constant rate, whatever the server does; each is timed from the moment when it was due."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in await asyncio.gather(*(Connection.open(url) for _ in range(connections))):
        free.put_nowait(connection)
    taken: list[float] = []
    refused: list[bytes] = []

    async def one(due: float) -> None:
        connection = await free.get()
        status, body = await connection.send(request)
        taken.append((time.perf_counter() - due) * 1000)
        if status >= 300:
            refused.append(body)
        free.put_nowait(connection)

    began = time.perf_counter()
    tasks = []
    for number in range(int(seconds * rate)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    load = Load(len(taken) / (time.perf_counter() - began), taken, refused)
    while not free.empty():
        await free.get_nowait().close()
    return load
