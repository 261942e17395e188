"""Frames on the Unix socket between the control process and its workers: length-prefixed msgpack, versioned."""

import msgspec

__all__ = [
    "GATEWAY",
    "MAX_FRAME_BYTES",
    "PROTOCOL_VERSION",
    "AnswerFrame",
    "AskFrame",
    "Frame",
    "Hello",
    "ReportFrame",
    "SnapshotFrame",
    "Welcome",
]

PROTOCOL_VERSION = 2
MAX_FRAME_BYTES = 64 * 1024 * 1024
GATEWAY = "gateway"
"""Name of the snapshot that is no system's: the `[gateway]` section as a plain msgpack map."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A worker's first frame."""

    protocol: int
    slot: str
    pid: int


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The control process's first frame: what a worker needs besides snapshots."""

    protocol: int
    control_pid: int


class SnapshotFrame(msgspec.Struct, frozen=True, tag="snapshot"):
    """The newest snapshot of one system."""

    system: str
    payload: msgspec.Raw


class ReportFrame(msgspec.Struct, frozen=True, tag="report"):
    """One system's report from one worker."""

    system: str
    payload: msgspec.Raw


class AskFrame(msgspec.Struct, frozen=True, tag="ask"):
    """A worker's question to one system, in that system's own words; answered by the frame of the same number."""

    system: str
    number: int
    payload: msgspec.Raw


class AnswerFrame(msgspec.Struct, frozen=True, tag="answer"):
    """The answer to the question of this number; nil when the system failed to give one."""

    number: int
    payload: msgspec.Raw


Frame = Hello | Welcome | SnapshotFrame | ReportFrame | AskFrame | AnswerFrame
