"""`geographic` with a MaxMind database, through a real gateway: each client is served by the region nearest to it."""

import urllib.request

import pytest
from processes import Gateway, Upstream

from mmdb import place, write_database

CONFIGURATION = """
[gateway]
listen = "127.0.0.1:0"
trusted_proxies = ["127.0.0.1"]

[admin]
listen = "127.0.0.1:0"

[balancing.pools.default]
strategy = "geographic"
geoip_database = "{database}"
instances = [
  {{ url = "{berlin}", region = "berlin", location = [52.5, 13.4] }},
  {{ url = "{tokyo}", region = "tokyo", location = [35.7, 139.7] }},
]
"""


@pytest.fixture
def upstreams():
    started = [Upstream(name) for name in ("berlin", "tokyo")]
    yield started
    for upstream in started:
        upstream.kill()


def ask(gateway: Gateway, address: str) -> str:
    request = urllib.request.Request(gateway.url, headers={"X-Forwarded-For": address})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def configure(folder, upstreams, database):
    file = folder / "seawall.toml"
    berlin, tokyo = (upstream.url for upstream in upstreams)
    file.write_text(CONFIGURATION.format(database=database, berlin=berlin, tokyo=tokyo))
    return str(file)


def test_clients_are_served_by_the_nearest_region(tmp_path, upstreams):
    networks = {"192.0.2.0/24": place(48.9, 2.4), "198.51.100.0/24": place(37.6, 127.0)}
    database = write_database(tmp_path / "city.mmdb", networks, 4)
    gateway = Gateway(tmp_path, "-c", configure(tmp_path, upstreams, database), "--workers", "1")
    try:
        gateway.wait_ready()
        assert {ask(gateway, "192.0.2.7") for _ in range(5)} == {"berlin"}
        assert {ask(gateway, "198.51.100.7") for _ in range(5)} == {"tokyo"}
        assert gateway.stop() == 0
    finally:
        gateway.destroy()


def test_a_database_that_cannot_be_read_is_refused_at_the_start(tmp_path, upstreams):
    database = tmp_path / "city.mmdb"
    database.write_bytes(b"no database")
    gateway = Gateway(tmp_path, "-c", configure(tmp_path, upstreams, database), "--workers", "1")
    try:
        assert gateway.process.wait(20) == 2
        assert f"cannot open the location database {database}" in gateway.log
        assert "Traceback" not in gateway.log
    finally:
        gateway.destroy()
