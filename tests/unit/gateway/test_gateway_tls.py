"""`https://` upstreams are verified: authority and name, and a failure says so in the log."""

import logging
import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway_harness import Peer, Upstream, gateway, get, post

pytestmark = pytest.mark.anyio


def openssl(*arguments: str) -> None:
    if shutil.which("openssl") is None:
        pytest.fail("certificates are made by the openssl command: install the package openssl")
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, `ca` and `stranger`, and a certificate of the first for service.test and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("pki")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        usage = ("-addext", "keyUsage=critical,keyCertSign")
        files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
        openssl("req", "-x509", *curve, "-days", "2", "-subj", f"/CN={name}", *usage, *files)
    files = ("-keyout", f"{folder}/server.key", "-out", f"{folder}/server.csr")
    openssl("req", *curve, "-subj", "/CN=server", *files)
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:service.test,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    signing = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-extfile", str(extensions))
    openssl("x509", "-req", "-days", "2", "-in", f"{folder}/server.csr", "-out", f"{folder}/server.pem", *signing)
    return folder


async def serve(pki: Path, *scripts) -> Upstream:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    return await Upstream("a", scripts or (Peer.serve,)).start(ssl=context)


@pytest.mark.parametrize("name", ["", "service.test"])
async def test_a_verified_upstream_is_spoken_to(pki, name):
    async with gateway(await serve(pki), tls_ca_file=str(pki / "ca.pem"), tls_server_name=name) as running:
        client = await running.client()
        assert (await client.ask(get())).body == b"a"
        assert (await client.ask(post(b"x" * 300_000))).body == b"a"
        assert len(running.upstreams[0].peers) == 1
        protocol = running.upstreams[0].peers[0].writer.get_extra_info("ssl_object").version()
        assert protocol in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ({"tls_ca_file": "ca.pem", "tls_server_name": "other.test"}, "Hostname mismatch"),
        ({"tls_ca_file": "stranger.pem"}, "certificate verify failed"),
        ({}, "certificate verify failed"),
        ({"tls_ca_file": "missing.pem"}, "missing.pem cannot be used"),
        ({"tls_ca_file": "server.key"}, "server.key cannot be used"),
    ],
)
async def test_an_upstream_that_cannot_be_verified_gets_nothing(pki, pool, reason, caplog):
    if "tls_ca_file" in pool:
        pool = {**pool, "tls_ca_file": str(pki / pool["tls_ca_file"])}
    with caplog.at_level(logging.WARNING, "seawall.gateway"):
        async with gateway(await serve(pki), **pool) as running:
            answer = await running.ask(get())
            assert (answer.status, answer.problem["code"]) == (503, "upstream-unreachable")
            assert "verify" not in answer.problem["detail"]
            assert running.upstreams[0].requests == []
            assert running.instances[0].transport.open == 0
    assert reason in caplog.text


async def test_a_plain_upstream_behind_an_https_url_gets_nothing(pki):
    plain = await Upstream("a", (lambda peer: peer.closed(),)).start()
    plain.url = plain.url.replace("http:", "https:")
    async with gateway(plain, tls_ca_file=str(pki / "ca.pem"), connect_timeout=0.3) as running:
        assert (await running.ask(get())).problem["code"] == "upstream-unreachable"


async def test_a_stale_tls_connection_is_no_fault(pki):
    async def once(peer: Peer) -> None:
        peer.upstream.requests.append(await peer.request())
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        await peer.request()

    async with gateway(await serve(pki, once, Peer.serve), tls_ca_file=str(pki / "ca.pem")) as running:
        client = await running.client()
        assert [(await client.ask(get())).body for _ in range(2)] == [b"1", b"a"]


@pytest.mark.parametrize("look", ["snapshot", "sweep"])
async def test_a_rotated_ca_file_is_picked_up(pki, tmp_path, caplog, look):
    ca = tmp_path / "ca.pem"
    ca.write_bytes((pki / "ca.pem").read_bytes())
    async with gateway(await serve(pki), tls_ca_file=str(ca), retry_attempts=0) as running:
        runtime = running.worker.runtime

        def rotate(name: str) -> None:
            ca.write_bytes((pki / name).read_bytes() if name else b"half a certifica")
            os.utime(ca, ns=(0, ca.stat().st_mtime_ns + 1_000_000))
            if look == "snapshot":
                running.apply([running.upstreams[0].url])
            else:
                runtime._trust_checked = -1e9
                runtime.sweep()

        assert (await running.ask(get())).status == 200
        rotate("ca.pem")
        assert (await running.ask(get())).status == 200
        assert len(running.upstreams[0].peers) == 2  # what was verified by the file's earlier content is verified anew
        with caplog.at_level(logging.WARNING, "seawall.gateway"):
            rotate("")
            assert (await running.ask(get())).status == 200
        assert [record for record in caplog.records if "is trusted until it can" in record.getMessage()]
        rotate("stranger.pem")
        assert (await running.ask(get())).status == 503
        rotate("ca.pem")
        assert (await running.ask(get())).status == 200
