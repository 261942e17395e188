"""Frames survive any split of the bytes; whatever is not a frame is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.control.framing import ChannelError, FrameReader, encode_frame
from seawall.control.messages import Frame, Hello, ReportFrame, SnapshotFrame, Welcome

names = st.text(max_size=20)
payloads = st.recursive(st.integers(0, 2**40) | st.binary(max_size=200) | st.none(), lambda x: st.lists(x, max_size=4))
raws = payloads.map(msgspec.msgpack.encode)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, st.integers(0, 9), names, st.integers(1, 2**22)),
    st.builds(Welcome, st.integers(0, 9), st.integers(1, 2**22)),
    st.builds(SnapshotFrame, names, raws.map(msgspec.Raw)),
    st.builds(ReportFrame, names, raws.map(msgspec.Raw)),
)


def plain(frame: Frame) -> tuple[object, ...]:
    """Make frames comparable: `msgspec.Raw` compares by identity."""
    fields = (getattr(frame, name) for name in frame.__struct_fields__)
    return type(frame), *(bytes(value) if isinstance(value, msgspec.Raw) else value for value in fields)


@given(st.lists(frames, max_size=6), st.data())
def test_any_split_of_the_bytes_gives_the_same_frames(sent, data):
    stream = b"".join(encode_frame(frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = FrameReader()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[start:end])
    assert [plain(frame) for frame in received] == [plain(frame) for frame in sent]
    assert reader.pending == 0


@given(frames, st.data())
def test_an_incomplete_frame_is_held_back(frame, data):
    encoded = encode_frame(frame)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    reader = FrameReader()
    assert reader.feed(encoded[:cut]) == []
    assert reader.pending == cut


@given(st.binary(max_size=64))
def test_a_body_that_is_no_frame_is_refused_and_never_crashes(body):
    reader = FrameReader()
    try:
        received = reader.feed(len(body).to_bytes(4, "big") + body)
    except ChannelError:
        return
    # The rare body that is a frame must survive a round trip.
    assert [plain(frame) for frame in FrameReader().feed(encode_frame(received[0]))] == [plain(received[0])]


def test_a_frame_above_the_limit_is_refused_before_its_body_arrives():
    with pytest.raises(ChannelError, match="at most 100 are accepted"):
        FrameReader(limit=100).feed((101).to_bytes(4, "big"))


def test_a_frame_at_the_limit_is_accepted():
    encoded = encode_frame(Hello(1, "worker-0", 7))
    assert FrameReader(limit=len(encoded) - 4).feed(encoded) == [Hello(1, "worker-0", 7)]


def test_a_frame_above_the_limit_is_not_sent():
    frame = SnapshotFrame("balancing", msgspec.Raw(msgspec.msgpack.encode(b"x" * 200)))
    with pytest.raises(ChannelError, match="above the channel's limit of 100 bytes"):
        encode_frame(frame, limit=100)
