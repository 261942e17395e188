"""Frames as bytes: a 4-byte big-endian length, then msgpack of one `control.messages.Frame`; no socket in here."""

import msgspec

from seawall.control.messages import MAX_FRAME_BYTES, Frame
from seawall.core.errors import SeawallError

__all__ = ["ChannelError", "FrameReader", "encode_frame"]

_LENGTH_BYTES = 4

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


class ChannelError(SeawallError):
    """The other end of the channel broke the protocol; its connection is closed."""

    code = "channel-protocol"


def encode_frame(frame: Frame, *, limit: int = MAX_FRAME_BYTES) -> bytes:
    """Return the frame's bytes, length first; raise `ChannelError` when the body is above `limit` bytes."""
    body = _ENCODER.encode(frame)
    if len(body) > limit:
        raise ChannelError(
            f"a {type(frame).__name__} of {len(body)} bytes is above the channel's limit of {limit} bytes",
            hint="fewer instances or routes in one gateway, or split it in two",
        )
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameReader:
    """Cut a stream of bytes into frames, however it was split on its way.

    Args:
        limit: bytes of body above which a frame is refused before it is read, so that a broken peer cannot fill memory.

    Not safe to call concurrently; costs one copy of each frame.
    """

    def __init__(self, *, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Return how many bytes of an incomplete frame are held."""
        return len(self._buffer)

    def feed(self, received: bytes) -> list[Frame]:
        """Take what arrived and return the frames that are now complete, in order.

        Raises:
            ChannelError: a frame is too long or is not one of ours; nothing after it can be trusted.
        """
        buffer = self._buffer
        buffer += received
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            body = start + _LENGTH_BYTES
            length = int.from_bytes(buffer[start:body], "big")
            if length > self._limit:
                raise ChannelError(f"a frame of {length} bytes was announced; at most {self._limit} are accepted")
            if len(buffer) - body < length:
                break
            frames.append(_decode(bytes(buffer[body : body + length])))
            start = body + length
        if start:
            del buffer[:start]
        return frames


def _decode(body: bytes) -> Frame:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ChannelError(f"a frame of {len(body)} bytes is malformed: {error}") from error
