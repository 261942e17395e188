"""What may be asked of shared counts: every number, name and length from another process is held to a bound here."""

import math
from collections.abc import Sequence
from hashlib import blake2b

from seawall.core.errors import InvalidError
from seawall.systems.ratelimit.counts import CountAsk, GiveBack, WindowAsk
from seawall.systems.ratelimit.model import Algorithm

__all__ = [
    "MAX_ASKS",
    "MAX_KEY",
    "MAX_LEASE",
    "MAX_NUMBER",
    "MAX_REFUNDS",
    "MAX_WINDOW",
    "MAX_WINDOWS",
    "MIN_LIMIT",
    "MIN_WINDOW",
    "bounded_asks",
    "bounded_refunds",
    "count_key",
]

MAX_ASKS = 512
"""Asks of one request; a configuration has at most 500 rules."""
MAX_REFUNDS = 512
"""What may come back at once."""
MAX_WINDOWS = 8
MAX_KEY = 512
"""Characters of a key; a longer one is hashed."""
MAX_NUMBER = 1e15
"""Limits, bursts and costs above it count as it; doubles hold whole numbers a little beyond."""
MAX_LEASE = 1e6
MIN_WINDOW, MAX_WINDOW = 1e-3, 1e9
"""Seconds."""
MIN_LIMIT = 1e-9
"""Below it nothing passes."""

_DIGEST = 16


def bounded_asks(asks: Sequence[CountAsk]) -> tuple[CountAsk, ...]:
    """Return a request's asks with every number within its bound.

    Limits, bursts, costs and leases that are finite or infinite are brought within their bounds; what is no number at
    all, or negative, is a defect of the caller.

    Raises:
        InvalidError: there are too many asks or windows or two of one key, or a number is none, negative, or (a cost
            or a window) infinite; nothing was taken.
    """
    if not 1 <= len(asks) <= MAX_ASKS:
        raise InvalidError(f"a request cannot have {len(asks)} asks", hint=f"Ask 1 to {MAX_ASKS} at once.")
    if len(asks) > 1 and len({ask.key for ask in asks}) < len(asks):
        raise InvalidError("a request asks twice of one key", hint="Give each rule an id of its own.")
    return tuple([_bounded(ask) for ask in asks])


def bounded_refunds(refunds: Sequence[GiveBack]) -> tuple[GiveBack, ...]:
    """Return what comes back with every number within its bound.

    Raises:
        InvalidError: there is too much at once, or a number is none, or a limit or window negative or infinite.
    """
    if len(refunds) > MAX_REFUNDS:
        raise InvalidError(f"{len(refunds)} refunds cannot come at once", hint=f"Give at most {MAX_REFUNDS} back.")
    return tuple([_bounded_refund(refund) for refund in refunds])


def count_key(key: str) -> str:
    """Return the key to count under: itself, or a digest where it is too long, or is no text that can be sent."""
    if len(key) <= MAX_KEY and (key.isascii() or _encodable(key)):
        return key
    # `#` marks a digest, as in the keys of requests; a rule's id cannot begin with it.
    return "#" + blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).hexdigest()


def _bounded(ask: CountAsk) -> CountAsk:
    key = ask.key
    windows = ask.windows
    fits = 0.0 <= ask.lease <= MAX_LEASE and len(key) <= MAX_KEY and key.isascii() and 1 <= len(windows) <= MAX_WINDOWS
    if fits:
        for window in windows:
            if not (
                0.0 <= window.limit <= MAX_NUMBER
                and 0.0 <= window.cost <= MAX_NUMBER
                and 0.0 <= window.burst <= MAX_NUMBER
                and (window.burst or window.algorithm is not Algorithm.GCRA)
                and MIN_WINDOW <= window.window <= MAX_WINDOW
            ):
                break
        else:  # the way of nearly every ask, which therefore costs comparisons only
            return ask
    if not ask.lease >= 0.0:
        raise _refusal(ask.key, "lease", ask.lease)
    return CountAsk(
        count_key(key), _bounded_windows(ask.key, windows, least=0.0), min(ask.lease, MAX_LEASE), ask.binding
    )


def _bounded_refund(refund: GiveBack) -> GiveBack:
    if not math.isfinite(refund.at):
        raise _refusal(refund.key, "time", refund.at)
    windows = _bounded_windows(refund.key, refund.windows, least=-math.inf, most=math.inf)
    return GiveBack(count_key(refund.key), windows, refund.at)


def _bounded_windows(
    key: str, windows: Sequence[WindowAsk], *, least: float, most: float = MAX_NUMBER
) -> tuple[WindowAsk, ...]:
    if not 1 <= len(windows) <= MAX_WINDOWS:
        raise InvalidError(f"{key[:80]!r} has {len(windows)} windows", hint=f"Give 1 to {MAX_WINDOWS}.")
    for one in windows:
        if not one.limit >= 0.0:
            raise _refusal(key, "limit", one.limit)
        if not one.burst >= 0.0:
            raise _refusal(key, "burst", one.burst)
        if not least <= one.cost or one.cost == -math.inf or (one.cost == math.inf and most < math.inf):
            raise _refusal(key, "cost", one.cost)
        if not MIN_WINDOW <= one.window <= MAX_WINDOW:
            raise _refusal(key, "window", one.window)
        if one.algorithm is Algorithm.GCRA and not one.burst:
            raise _refusal(key, "burst", one.burst)
    return tuple(
        [
            WindowAsk(
                one.algorithm,
                min(one.limit, MAX_NUMBER),
                one.window,
                min(one.burst, MAX_NUMBER),
                one.cost if one.cost == math.inf else min(max(one.cost, -MAX_NUMBER), MAX_NUMBER),
            )
            for one in windows
        ]
    )


def _refusal(key: str, name: str, value: float) -> InvalidError:
    return InvalidError(
        f"{key[:80]!r} cannot be counted with the {name} {value}", hint=f"See what `counts.WindowAsk` says of {name}."
    )


def _encodable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
