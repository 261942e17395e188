"""The tutorial does what it says: its blocks are run in order, and what it shows is what comes out."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorials" / "first-gateway.md"
_BLOCK = re.compile(r"^```(bash|text|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def test_the_first_gateway(tmp_path: Path) -> None:
    text = TUTORIAL.read_text()
    ports = dict(zip(("9001", "9002", "8080", "8081"), map(str, free_ports(4)), strict=True))
    # The tutorial relies on the default ports, which may be taken where the tests run.
    text = re.sub("|".join(ports), lambda written: ports[written.group()], text)
    text = text.replace(
        "seawall serve --workers 1",
        f"seawall serve --listen 127.0.0.1:{ports['8080']} --admin 127.0.0.1:{ports['8081']} --workers 1",
    )
    script = ["set -eu"]
    expected: list[list[list[str]]] = []
    for language, block in _BLOCK.findall(text):
        if language == "bash":
            script += ["echo @@", block]
            expected.append([])
        elif language == "text":
            expected[-1] = words(block)
        else:
            script.append(f"cat > seawall.toml <<'END'\n{block}END")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path),
    }
    process = subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=45)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        else:
            process.wait()
    log = tmp_path / "gateway.log"
    assert process.returncode == 0, output + (log.read_text() if log.exists() else "")
    shown = [part.partition("\n")[2] for part in output.split("@@")[1:]]
    assert len(shown) == len(expected)
    for number, (wanted, got) in enumerate(zip(expected, shown, strict=True)):
        if wanted:
            told = [line for line in words(got) if line[:1] != ["bash:"]]  # bash's notice of the killed job
            assert told == wanted, f"block {number} printed {got!r}"
