"""Shared counts in one process's memory: the control process answers its workers from here."""

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.ratelimit.counts import CountAnswer, CountAsk, GiveBack
from seawall.systems.ratelimit.shared import Change, States, give_back, take
from seawall.systems.ratelimit.shared_bounds import bounded_asks, bounded_refunds
from seawall.systems.ratelimit.verdict import require_positive

__all__ = [
    "MAX_REQUESTS",
    "CountsBatch",
    "EmbeddedCounts",
    "decode_answer_batch",
    "encode_batch",
]

MAX_REQUESTS = 512
"""Requests in one batch."""

_SWEPT = 2


class CountsBatch(msgspec.Struct, frozen=True, array_like=True):
    """What a worker's requests ask between two turns of its event loop.

    Attributes:
        requests: the asks of each request.
        refunds: what comes back.
    """

    requests: tuple[tuple[CountAsk, ...], ...]
    refunds: tuple[GiveBack, ...] = ()


_ENCODER = msgspec.msgpack.Encoder()
_BATCH = msgspec.msgpack.Decoder(CountsBatch)
_ANSWERS = msgspec.msgpack.Decoder(tuple[tuple[CountAnswer, ...], ...])


def encode_batch(batch: CountsBatch) -> bytes:
    """Return a batch as it travels."""
    return _ENCODER.encode(batch)


def decode_answer_batch(payload: bytes) -> tuple[tuple[CountAnswer, ...], ...]:
    """Return the answers, in the order of the requests; raise `msgspec.MsgspecError` when it is none."""
    return _ANSWERS.decode(payload)


class EmbeddedCounts:
    """Answer batches from a bounded table.

    When the table is full, the key that nobody asked for the longest is forgotten, so a flood of new keys does not let
    off one that keeps coming.

    Args:
        now: gives monotonic seconds.
        max_keys: keys at most, the windows of a rule counting as one; each takes some 320 bytes with a key of 30.

    For one thread. A request with one ask costs some 6 us, its part in the batch included.
    """

    def __init__(self, now: Callable[[], float], *, max_keys: int = 262_144) -> None:
        require_positive(max_keys=max_keys)
        self.forgotten = 0
        """Keys that were forgotten while they still counted: above 0, the table is too small for its traffic."""
        self._now = now
        self._max_keys = max_keys
        self._kept: OrderedDict[str, tuple[States, float]] = OrderedDict()
        """By place, those asked for last at the end: states, and when they are as good as none."""

    def __len__(self) -> int:
        return len(self._kept)

    def answer(self, payload: bytes) -> bytes:
        """Answer one encoded `CountsBatch`; what comes back is taken first.

        Raises:
            msgspec.MsgspecError: it is none.
            InvalidError: a number in it is out of its bounds; nothing of that request was taken, nor of later ones.
        """
        batch = _BATCH.decode(payload)
        if len(batch.requests) > MAX_REQUESTS:
            raise InvalidError(
                f"a batch cannot have {len(batch.requests)} requests", hint=f"Send at most {MAX_REQUESTS} at once."
            )
        now = self._now()
        for refund in bounded_refunds(batch.refunds):
            change = give_back(self._states, refund, now)
            if change is not None:
                self._keep(change, now)
        return _ENCODER.encode([self.take(asks, now) for asks in batch.requests])

    def take(self, asks: tuple[CountAsk, ...], now: float) -> tuple[CountAnswer, ...]:
        """Decide on one request's asks at `now`.

        Raises:
            InvalidError: a number is out of its bounds; nothing was taken.
        """
        answers, changes = take(self._states, bounded_asks(asks), now)
        for change in changes:
            self._keep(change, now)
        return answers

    def _states(self, place: str) -> States | None:
        entry = self._kept.get(place)
        if entry is None:
            return None
        self._kept.move_to_end(place)
        return entry[0]

    def _keep(self, change: Change, now: float) -> None:
        kept = self._kept
        if change.lasts <= 0.0:
            kept.pop(change.place, None)
            return
        if change.place not in kept:
            self._make_room(now)
        kept[change.place] = change.states, now + change.lasts

    def _make_room(self, now: float) -> None:
        """Forget the oldest: two that are as good as none, so that the table shrinks again, or one where it is full."""
        kept = self._kept
        for _ in range(min(_SWEPT, len(kept))):
            place, (_, until) = next(iter(kept.items()))
            if now < until:
                break
            del kept[place]
        if len(kept) >= self._max_keys:
            kept.popitem(last=False)
            self.forgotten += 1
