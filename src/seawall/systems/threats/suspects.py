"""Who asks a route too much while nobody knows what is usual there, as right after a start.

A rate says little by itself: behind one address may stand one program, or an office. So an address has to ask more than
so many people, or programs, may as differ in browser, cookies or credentials (`faces`), and far more than the rest of
those who ask, and twice in a row. Where all look like that, as behind a proxy that is not told of, nobody is suspected.
"""

from collections.abc import Mapping
from statistics import median

import msgspec

__all__ = ["MANY_FACES", "Suspects", "Talker"]

MANY_FACES = 16
"""So many different people make a crowd; more of them are not counted."""
_BESIDE = 10.0
"""Multiple of what the others ask, each by its faces, at the median."""
_TWICE = 2
_PATIENCE = 180.0
"""Seconds after which a suspect counts as usual: it is then a part of this traffic that an operator knows of."""


class Talker(msgspec.Struct, frozen=True, array_like=True):
    """A client or a network that asks much.

    Attributes:
        subject: such as `client:192.0.2.7`.
        requests: since the last step.
        faces: checksums of browser, cookies and credentials, of some of its requests; none where it asked little.
    """

    subject: str
    requests: int
    faces: tuple[int, ...] = ()


class Suspects:
    """The suspects of one route.

    Args:
        source: requests per second that are borne of one face.
        calm: seconds without asking too much after which a suspect is none any more.

    Attributes:
        since: seconds on the clock of the steps, by suspect.
        let_go: who was suspected for so long that it counts as usual.

    Pure; bounded by the number of talkers in a step and the steps within `calm`.
    """

    __slots__ = ("_calm", "_seen", "_source", "_strikes", "let_go", "since")

    def __init__(self, source: float, calm: float) -> None:
        self._source = source
        self._calm = calm
        self._strikes: dict[str, int] = {}
        self._seen: dict[str, float] = {}
        self.let_go: set[str] = set()
        self.since: dict[str, float] = {}

    def look(self, clients: Mapping[str, tuple[float, int]], now: float, *, learning: bool) -> None:
        """Take what came within a step.

        Args:
            clients: requests per second and number of faces, by subject.
            now: seconds.
            learning: whether it is not known yet what is usual; else nobody becomes a suspect any more.
        """
        if not learning and not self.since:
            self._strikes.clear()
            self.let_go.clear()
            return
        # An unknown number of faces is one: whoever asks little is not looked at.
        each = {subject: rate / max(faces, 1) for subject, (rate, faces) in clients.items()}
        over = {subject for subject, rate in each.items() if rate > self._source and clients[subject][1] < MANY_FACES}
        others = [rate for subject, rate in each.items() if subject not in over]
        # Those who come to bear no more than the others are no suspects, and without others nobody is.
        beside = _BESIDE * median(others) if others else float("inf")
        over = {subject for subject in over if each[subject] > beside or subject in self.since}
        self._strikes = {subject: self._strikes.get(subject, 0) + 1 for subject in over}
        for subject, strikes in self._strikes.items():
            if subject in self.since or (learning and strikes >= _TWICE and subject not in self.let_go):
                self.since.setdefault(subject, now)
                self._seen[subject] = now
        for subject, since in list(self.since.items()):
            if not 0.0 <= now - self._seen[subject] < self._calm or now - since > _PATIENCE:
                if now - since > _PATIENCE:
                    self.let_go.add(subject)
                del self.since[subject], self._seen[subject]

    @property
    def doubted(self) -> set[str]:
        """Suspects, and those who may become some: what they ask is not what is usual."""
        return self.since.keys() | self._strikes.keys()
