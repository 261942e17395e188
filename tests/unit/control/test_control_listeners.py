"""The listening sockets: spread by the kernel, taken by nobody else, refused with a reason."""

import contextlib
import socket
import stat

import pytest

from seawall.control.listeners import Listeners
from seawall.core.errors import SeawallError


@pytest.fixture
def listeners():
    with contextlib.ExitStack() as stack:

        def make(listen: str = "127.0.0.1:0", slots: int = 2) -> Listeners:
            made = Listeners(listen, slots)
            stack.callback(made.close)
            return made

        yield make


def port_of(made: Listeners) -> int:
    return int(made.url.rpartition(":")[2])


def reach(port: int) -> bool:
    """Tell whether a connection is taken."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_port_nought_gives_every_slot_the_same_free_port(listeners):
    made = listeners(slots=3)
    ports = {made.take(slot).getsockname()[1] for slot in range(3)}
    assert ports == {port_of(made)}
    assert port_of(made) > 0


def test_nothing_is_routed_to_a_slot_before_its_worker_listens(listeners):
    made = listeners()
    held = made.take(0)
    assert not reach(port_of(made))
    held.listen()
    assert reach(port_of(made))


def test_connections_that_wait_survive_the_worker(listeners):
    made = listeners(slots=1)
    worker = made.take(0).dup()
    worker.listen()
    with socket.create_connection(("127.0.0.1", port_of(made)), timeout=5) as client:
        worker.close()
        successor = made.take(0)
        successor.setblocking(True)
        successor.settimeout(5)
        accepted, _ = successor.accept()
        with accepted:
            accepted.sendall(b"served")
            assert client.recv(6) == b"served"


def test_a_closed_slot_leaves_its_share_to_the_others_and_comes_back(listeners):
    made = listeners()
    port = port_of(made)
    for slot in (0, 1):
        made.take(slot).listen()
    made.close_slot(0)
    made.close_slot(0)
    made.take(1).settimeout(5)
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            made.take(1).accept()[0].close()
    made.close_slot(1)
    assert not reach(port)
    assert made.take(0).getsockname()[1] == port


def test_a_port_stays_ours_while_every_slot_is_closed(listeners):
    made = listeners()
    made.close_slot(0)
    made.close_slot(1)
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind(("127.0.0.1", port_of(made)))


def test_a_port_that_another_process_listens_on_is_refused(listeners):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SeawallError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use") as refused:
            listeners(f"127.0.0.1:{port}")
        assert "--listen" in refused.value.hint


def test_a_second_gateway_of_the_same_user_is_refused_although_it_shares_ports(listeners):
    first = listeners()
    first.take(0).listen()
    with pytest.raises(SeawallError, match="Address already in use"):
        listeners(f"127.0.0.1:{port_of(first)}")


@pytest.mark.parametrize(
    ("listen", "hint"),
    [
        pytest.param("192.0.2.1:8080", "0.0.0.0", id="not of this machine"),
        pytest.param("no-such-host.invalid:8080", "no address", id="unknown name"),
        pytest.param("unix:/no/such/directory/x.sock", "another address", id="no directory"),
    ],
)
def test_a_bad_address_is_refused_with_what_to_do(listeners, listen, hint):
    with pytest.raises(SeawallError, match=f"cannot listen on {listen}") as refused:
        listeners(listen)
    assert hint in refused.value.hint


def test_every_slot_shares_one_unix_socket_that_is_removed_at_the_end(listeners, tmp_path):
    path = tmp_path / "gateway.sock"
    made = listeners(f"unix:{path}")
    assert made.take(0) is made.take(1)
    assert made.url == f"unix:{path}"
    made.close_slot(0)
    assert made.take(0).fileno() >= 0
    made.close()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_living_one_is_not(listeners, tmp_path):
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    made = listeners(f"unix:{path}")
    made.take(0).listen()
    with pytest.raises(SeawallError, match="Address already in use"):
        listeners(f"unix:{path}")
    assert stat.S_ISSOCK(path.stat().st_mode)


def test_a_file_that_is_no_socket_is_never_removed(listeners, tmp_path):
    path = tmp_path / "precious.txt"
    path.write_text("keep me")
    with pytest.raises(SeawallError, match="not a socket"):
        listeners(f"unix:{path}")
    assert path.read_text() == "keep me"


def test_every_interface_of_both_families(listeners):
    if not socket.has_ipv6:
        pytest.skip("this build of Python has no IPv6")
    made = listeners("[::]:0")
    made.take(0).listen()
    assert made.url.startswith("http://[::]:")
    assert reach(port_of(made))
