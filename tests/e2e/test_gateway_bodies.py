"""Bodies larger than memory should ever hold: 2 GiB each way through a gateway process, with its memory measured."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE = 2 * 2**30
BLOCK = 2**20
PATTERN = bytes(range(256)) * (2 * BLOCK // 256)
"""Two blocks: whatever part of a body is received equals one slice of it."""
FRAME = b"%x\r\n%b\r\n" % (BLOCK, PATTERN[:BLOCK])
EXTRA = 64 * 2**20

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured through Linux's /proc"),
    pytest.mark.timeout(120),
]


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Return the head and what came of the body with it; nothing at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65_536)
        if not part:
            assert not data, data
            return b"", b""
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


class Body:
    """Reads a body with as little work as possible, and checks every byte of it."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        self.sock = sock
        self.buffer = bytearray(BLOCK)
        self.view = memoryview(self.buffer)
        self.rest = rest

    def take(self, most: int) -> memoryview:
        if self.rest:
            part, self.rest = self.rest[:most], self.rest[most:]
            return memoryview(part)
        size = self.sock.recv_into(self.buffer, min(most, BLOCK))
        assert size, "the connection ended early"
        return self.view[:size]

    def read(self, size: int, done: int) -> int:
        """Read exactly so many bytes, of which `done` came before; return the new sum."""
        end = done + size
        while done < end:
            part = self.take(end - done)
            start = done % BLOCK
            assert part == PATTERN_VIEW[start : start + len(part)], f"wrong bytes after {done}"
            done += len(part)
        return done

    def line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            line += bytes(self.take(1))
        return line[:-2]

    def read_chunked(self) -> int:
        done = 0
        while size := int(self.line(), 16):
            done = self.read(size, done)
            assert self.line() == b""
        assert self.line() == b""
        return done


PATTERN_VIEW = memoryview(PATTERN)


def send(sock: socket.socket, size: int, *, chunked: bool) -> None:
    block = FRAME if chunked else PATTERN[:BLOCK]
    for _ in range(size // BLOCK):
        sock.sendall(block)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


def framing(size: int, *, chunked: bool) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % size


class Server(threading.Thread):
    """Takes what is sent to `/up` and says how much it was; gives bytes at `/down`; by length or in chunks."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            sock, _ = self.listener.accept()
            with sock:
                head, rest = read_head(sock)
                while head:
                    self.answer(sock, head, rest)
                    head, rest = read_head(sock)
        except BaseException as error:  # noqa: BLE001 - told by the fixture
            self.failure = error

    def answer(self, sock: socket.socket, head: bytes, rest: bytes) -> None:
        target = head.split(b" ")[1]
        size = int(target.rpartition(b"/")[2] or b"0")
        chunked = b"chunked" in target
        if target.startswith(b"/up"):
            assert (b"transfer-encoding: chunked" in head) is chunked
            body = Body(sock, rest)
            size = body.read_chunked() if chunked else body.read(size, 0)
            text = b"%d" % size
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        elif target.startswith(b"/down"):
            sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing(size, chunked=chunked))
            send(sock, size, chunked=chunked)
        else:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.listener.close()
    server.join(10)
    if server.failure is not None:
        raise server.failure


@pytest.fixture
def gateway(server: Server) -> Iterator[tuple[int, int]]:
    """A gateway in front of the server: its port and process id."""
    url = f"http://127.0.0.1:{server.listener.getsockname()[1]}"
    script = Path(__file__).with_name("gateway_process.py")
    with subprocess.Popen(
        [sys.executable, str(script), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def memory(pid: int, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


@pytest.mark.parametrize(
    ("direction", "framed", "size"),
    [("up", "chunked", SIZE), ("down", "length", SIZE), ("up", "length", SIZE // 8), ("down", "chunked", SIZE // 8)],
)
def test_a_large_body_passes_in_little_memory(gateway, direction, framed, size):
    chunked = framed == "chunked"
    target = f"/{direction}-{framed}/{size}".encode()
    port, pid = gateway
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /warm/ HTTP/1.1\r\nHost: a\r\n\r\n")
        read_head(sock)
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from here
        before = memory(pid, "VmRSS")
        if direction == "up":
            sock.sendall(b"POST %b HTTP/1.1\r\nHost: a\r\n" % target + framing(size, chunked=chunked))
            send(sock, size, chunked=chunked)
            head, rest = read_head(sock)
            assert rest == b"%d" % size
        else:
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            head, rest = read_head(sock)
            body = Body(sock, rest)
            assert (body.read_chunked() if chunked else body.read(size, 0)) == size
            assert (b"chunked" in head) is chunked
        assert head.startswith(b"HTTP/1.1 200 ")
        extra = memory(pid, "VmHWM") - before
        sys.stdout.write(f"{size / 2**30:g} GiB {direction}, {framed}: {extra / 2**20:.1f} MiB more at the peak\n")
        assert extra < EXTRA
