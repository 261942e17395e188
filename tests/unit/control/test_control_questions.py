"""What workers ask the control plane, and what it answers."""

import random
from pathlib import Path

import msgspec
import pytest

from seawall.config.loader import load
from seawall.control.channel_local import LocalChannel
from seawall.control.counts import RATELIMIT
from seawall.control.framing import ChannelError, FrameReader, encode_frame
from seawall.control.messages import AnswerFrame, AskFrame
from seawall.control.plane import ControlPlane
from seawall.control.tree import Settings
from seawall.state.open import open_store
from seawall.systems.ratelimit.embedded import MAX_REQUESTS, CountsBatch, decode_answer_batch, encode_batch
from seawall.testing import FakeClock
from shared_counts_harness import ask, gcra

WORKER = "worker-0", 7


@pytest.fixture
def plane(tmp_path: Path) -> ControlPlane:
    file = tmp_path / "seawall.toml"
    file.write_text(f'[state]\nurl = "memory://"\ndirectory = "{tmp_path}/state"\n')
    loaded = load(Settings, file=file, environ={}, overrides={})
    return ControlPlane(loaded.settings, loaded, open_store("memory://"), [], FakeClock(), random.Random(1))


def question(*costs: float) -> bytes:
    return encode_batch(CountsBatch(tuple((ask("k", gcra(cost=cost)),) for cost in costs)))


def test_counts_are_kept_from_one_question_to_the_next(plane: ControlPlane) -> None:
    first = decode_answer_batch(plane.on_ask(WORKER, RATELIMIT, question(4.0, 4.0)))
    ((second,),) = decode_answer_batch(plane.on_ask(("worker-1", 8), RATELIMIT, question(4.0)))
    assert [answer.allowed for (answer,) in first] == [True, True]
    assert not second.allowed
    assert len(plane.counts) == 1


@pytest.mark.parametrize(
    ("system", "raw", "said"),
    [
        ("balancing", question(1.0), "answers no questions"),
        (RATELIMIT, b"\xff", "malformed"),
        (RATELIMIT, msgspec.msgpack.encode([[[["k", [["gcra", 1.0, 1.0, 1.0, 1.0]]]]]] * 3), "malformed"),
        (RATELIMIT, question(float("nan")), "malformed"),
        (RATELIMIT, question(*[1.0] * (MAX_REQUESTS + 1)), "malformed"),
    ],
)
def test_what_is_no_question_ends_the_connection(system: str, raw: bytes, said: str, plane: ControlPlane) -> None:
    with pytest.raises(ChannelError, match=said):
        plane.on_ask(WORKER, system, raw)
    assert len(plane.counts) == 0


def test_a_defect_is_shown_and_cuts_nobody_off(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(raw: bytes) -> bytes:
        raise RuntimeError("a defect of the counts")

    sound = plane._answering[RATELIMIT]
    monkeypatch.setitem(plane._answering, RATELIMIT, fail)
    for _ in range(3):
        assert msgspec.msgpack.decode(plane.on_ask(WORKER, RATELIMIT, question(1.0))) is None
    assert "a defect of the counts" in plane.health().findings["ratelimit.questions"]
    assert len([record for record in caplog.records if "cannot be answered" in record.message]) == 1
    monkeypatch.setitem(plane._answering, RATELIMIT, sound)
    plane.on_ask(WORKER, RATELIMIT, question(1.0))
    assert "ratelimit.questions" not in plane.health().findings


@pytest.mark.anyio
async def test_a_local_line_says_none_for_what_is_no_question(plane: ControlPlane) -> None:
    channel = LocalChannel(plane, "worker-0", lambda system, raw: None, lambda *, full: ())
    await channel.start()
    answers: list[bytes | None] = []
    assert channel.ask(RATELIMIT, b"\xff", answers.append)
    assert channel.ask(RATELIMIT, question(1.0), answers.append)
    assert answers == [], "an answer came from within the call"
    await channel.close()
    assert answers[0] is None
    assert answers[1] is not None


def test_questions_and_answers_travel_whole() -> None:
    frames = [AskFrame("ratelimit", 2**40, msgspec.Raw(question(1.0))), AnswerFrame(2**40, msgspec.Raw(b"\xc0"))]
    sent = b"".join(encode_frame(frame) for frame in frames)
    reader = FrameReader()
    received = [frame for start in range(0, len(sent), 5) for frame in reader.feed(sent[start : start + 5])]
    assert [type(frame) for frame in received] == [AskFrame, AnswerFrame]
    assert bytes(received[0].payload) == question(1.0)
    assert (received[0].number, received[1].number) == (2**40, 2**40)
