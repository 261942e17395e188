"""An upstream server as a script of its own that remembers whom it saw: `python threats_upstream.py` prints its port.

It answers what lies under `/shop`, refuses every log-in at `/login` but those with the password `right`, and knows
nothing else. `GET /-/seen` tells, by client, how many requests came, when the last one did (seconds on the monotonic
clock), and how many bytes of bodies. It ends when its standard input does.
"""

import asyncio
import json
import sys
import time


class Seen:
    def __init__(self) -> None:
        self.clients: dict[str, dict[str, float]] = {}

    def note(self, client: str, size: int) -> None:
        row = self.clients.setdefault(client, {"requests": 0, "last": 0.0, "bytes": 0})
        row["requests"] += 1
        row["last"] = time.monotonic()
        row["bytes"] += size


async def body_of(reader: asyncio.StreamReader, fields: dict[str, str]) -> tuple[int, bytes]:
    """Read a body and return its size and its beginning, so that a large one needs no memory."""
    size, start = 0, b""
    if fields.get("transfer-encoding") == "chunked":
        while left := int(await reader.readuntil(b"\r\n"), 16):
            part = await reader.readexactly(left)
            await reader.readexactly(2)
            size, start = size + left, start or part[:4096]
        await reader.readexactly(2)
        return size, start
    left = int(fields.get("content-length", "0"))
    while left:
        part = await reader.read(min(left, 65_536))
        if not part:
            raise ConnectionError
        size, left, start = size + len(part), left - len(part), start or part[:4096]
    return size, start


def answer(seen: Seen, method: str, path: str, fields: dict[str, str], size: int, body: bytes) -> tuple[str, bytes]:
    if path == "/-/seen":
        return "200 OK", json.dumps(seen.clients).encode()
    seen.note(fields.get("x-forwarded-for", ""), size)
    if path == "/login" and method == "POST":
        return ("200 OK", b"in") if b'"right"' in body else ("401 Unauthorized", b"out")
    return ("200 OK", b"here") if path.startswith("/shop") else ("404 Not Found", b"nothing")


async def main() -> None:
    seen = Seen()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ", 2)
                pairs = (line.partition(":") for line in lines[1:] if line)
                fields = {name.lower(): value.strip() for name, _, value in pairs}
                size, body = await body_of(reader, fields)
                status, content = answer(seen, method, target.partition("?")[0], fields, size, body)
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
