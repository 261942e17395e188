"""Asks and answers of shared counts as Redis' script takes and gives them; the layout is that script's."""

import struct
from collections.abc import Sequence

from seawall.core.errors import SeawallError
from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, GiveBack, WindowAnswer, WindowAsk
from seawall.systems.ratelimit.model import Algorithm

__all__ = ["decode_answers", "encode_ask", "encode_refund", "encode_windows"]

_LETTERS = (b"g", b"s", b"f", b"c")
_WINDOW = "Bdddd"
_ANSWER, _WINDOW_ANSWER = "Bd", "Bddd"
_MAX_REMEMBERED = 4096

_ASK_FORMS: dict[int, struct.Struct] = {}
_ANSWER_FORMS: dict[tuple[int, ...], struct.Struct] = {}
_SHAPES: dict[tuple[int, float], bytes] = {}


def encode_windows(windows: Sequence[WindowAsk]) -> tuple[bytes, list[float]]:
    """Return the shape that `place_of` puts before a key, encoded, and the numbers of the windows in order."""
    shape = b""
    numbers: list[float] = []
    for window in windows:
        algorithm = window.algorithm
        if algorithm is Algorithm.GCRA:
            code = 0
        elif algorithm is Algorithm.SLIDING_WINDOW:
            code = 1
        elif algorithm is Algorithm.FIXED_WINDOW:
            code = 2
        else:
            code = 3
        length = window.window
        part = _SHAPES.get((code, length))
        if part is None:
            if len(_SHAPES) >= _MAX_REMEMBERED:
                _SHAPES.clear()
            part = _SHAPES[code, length] = _LETTERS[code] + b"%.17g" % length
        shape += part
        numbers += (code, window.limit, length, window.burst, window.cost)
    return shape, numbers


def encode_ask(prefix: bytes, ask: CountAsk) -> tuple[bytes, bytes]:
    """Return an ask's key in Redis and its argument; the ask is within its bounds."""
    shape, numbers = encode_windows(ask.windows)
    form = _ask_form(len(ask.windows))
    return b"%b%b:%b" % (prefix, shape, ask.key.encode()), form.pack(ask.binding, ask.lease, *numbers)


def encode_refund(prefix: bytes, refund: GiveBack) -> tuple[bytes, bytes]:
    """Return the key in Redis and the argument of what comes back; it is within its bounds."""
    shape, numbers = encode_windows(refund.windows)
    form = _ask_form(len(refund.windows))
    return b"%b%b:%b" % (prefix, shape, refund.key.encode()), form.pack(2, refund.at, *numbers)


def decode_answers(raw: bytes, windows: tuple[int, ...]) -> tuple[CountAnswer, ...]:
    """Return the answers to a request.

    Args:
        raw: what the script returned.
        windows: how many windows each ask had.

    Raises:
        SeawallError: it is no answer to this request.
    """
    form = _ANSWER_FORMS.get(windows)
    if form is None:
        if len(_ANSWER_FORMS) >= _MAX_REMEMBERED:
            _ANSWER_FORMS.clear()
        form = struct.Struct("<d" + "".join([_ANSWER + _WINDOW_ANSWER * count for count in windows]))
        _ANSWER_FORMS[windows] = form
    try:
        values = form.unpack(raw)
    except (struct.error, TypeError) as error:
        raise SeawallError(
            f"the script of shared counts answered {raw[:80]!r}", hint="does something else write under its keys?"
        ) from error
    at = values[0]
    cursor = 1
    answers = []
    for count in windows:
        told = []
        end = cursor + 2 + 4 * count
        for start in range(cursor + 2, end, 4):
            allowed, remaining, reset, retry = values[start : start + 4]
            told.append(WindowAnswer(allowed == 1, remaining, reset, retry))
        answers.append(CountAnswer(values[cursor] == 1, tuple(told), values[cursor + 1], at))
        cursor = end
    return tuple(answers)


def _ask_form(windows: int) -> struct.Struct:
    form = _ASK_FORMS.get(windows)
    if form is None:
        form = _ASK_FORMS[windows] = struct.Struct("<Bd" + _WINDOW * windows)
    return form
