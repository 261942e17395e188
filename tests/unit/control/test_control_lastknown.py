"""The last known snapshots on disk."""

import msgspec
import pytest

from seawall.control.lastknown import LastKnownSnapshots
from seawall.core.errors import StateError


def test_what_was_written_is_read_again(tmp_path):
    kept = LastKnownSnapshots(tmp_path / "deep" / "state")
    kept.write({"balancing": msgspec.msgpack.encode([1, 2]), "gateway": msgspec.msgpack.encode({})}, now=12.5)
    assert kept.read(["balancing", "gateway", "threats"]) == {
        "balancing": msgspec.msgpack.encode([1, 2]),
        "gateway": msgspec.msgpack.encode({}),
    }


def test_only_the_owner_may_read_it_because_it_holds_keys(tmp_path):
    kept = LastKnownSnapshots(tmp_path / "state")
    kept.write({"balancing": msgspec.msgpack.encode(1)}, now=0.0)
    kept.write({"balancing": msgspec.msgpack.encode(2)}, now=1.0)
    (file,) = (tmp_path / "state").iterdir()
    assert file.name == "last-snapshot-balancing.msgpack"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert kept.read(["balancing"]) == {"balancing": msgspec.msgpack.encode(2)}


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"format": 9, "system": "balancing"})]
)
def test_a_damaged_file_counts_as_absent_and_is_named(tmp_path, caplog, content):
    (tmp_path / "last-snapshot-balancing.msgpack").write_bytes(content)
    assert LastKnownSnapshots(tmp_path).read(["balancing"]) == {}
    assert str(tmp_path / "last-snapshot-balancing.msgpack") in caplog.text


def test_a_newer_format_and_a_foreign_file_count_as_absent(tmp_path, caplog):
    kept = {"format": 2, "system": "balancing", "written_at": 0.0, "payload": 1}
    (tmp_path / "last-snapshot-balancing.msgpack").write_bytes(msgspec.msgpack.encode(kept))
    foreign = {"format": 1, "system": "balancing", "written_at": 0.0, "payload": 1}
    (tmp_path / "last-snapshot-threats.msgpack").write_bytes(msgspec.msgpack.encode(foreign))
    assert LastKnownSnapshots(tmp_path).read(["balancing", "threats"]) == {}
    assert "it is format 2 of balancing" in caplog.text
    assert "it is format 1 of balancing" in caplog.text


def test_an_unwritable_place_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot be kept in .*file/state") as refused:
        LastKnownSnapshots(tmp_path / "file" / "state").write({"balancing": b"\x01"}, now=0.0)
    assert "state.directory" in refused.value.hint


def test_a_failed_write_leaves_no_temporary_file(tmp_path):
    (tmp_path / "last-snapshot-balancing.msgpack").mkdir()  # a rename onto a directory fails
    with pytest.raises(StateError):
        LastKnownSnapshots(tmp_path).write({"balancing": b"\x01"}, now=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["last-snapshot-balancing.msgpack"]
