"""What the guard says to a request."""

import msgspec

from seawall.systems.threats.model import Action

__all__ = ["CHALLENGE_PATH", "PASS_COOKIE", "Ruling"]

CHALLENGE_PATH = b"/.well-known/seawall-challenge"
"""Where a browser hands in the solution of a challenge."""

PASS_COOKIE = b"seawall_pass"
"""Cookie of those who solved one."""


class Ruling(msgspec.Struct, frozen=True):
    """What becomes of a request.

    Attributes:
        action: `allow`; `tag` and `throttle` let it go on; `challenge` and `block` answer it.
        trusted: whether the client stands on the allow-list, so that nothing more is asked.
        why: `listed`, `banned`, `challenged`, `csrf`, `flood` or `inspection`; `redeemed` or `unsolved` for what was
            handed in.
        event: id of the event that tells of it; empty where there is none.
        wait: seconds after which it is worth trying again; infinite for never, 0 when nobody can tell.
        tag: for the upstream.
        challenge: to be solved.
        bits: of zeros that a solution has.
        cookie: value of the cookie that a solution earned.
    """

    action: Action = Action.ALLOW
    trusted: bool = False
    why: str = ""
    event: str = ""
    wait: float = 0.0
    tag: str = ""
    challenge: str = ""
    bits: int = 0
    cookie: str = ""
