"""What the controller tells guards, and what guards saw."""

import msgspec

from seawall.core.snapshot import Report, Snapshot
from seawall.systems.threats.deeds import ClientDeeds
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.logins import LoginLimits
from seawall.systems.threats.model import Mode
from seawall.systems.threats.networks import PackedNetworks
from seawall.systems.threats.response import ResponseLimits
from seawall.systems.threats.suspects import Talker

__all__ = [
    "Ban",
    "ChallengeKey",
    "CsrfPolicy",
    "FloodPolicy",
    "ListEntry",
    "LoginFailures",
    "LoginPolicy",
    "RouteAsked",
    "RouteCounts",
    "SlowClient",
    "ThreatReport",
    "ThreatSnapshot",
]


class ListEntry(msgspec.Struct, frozen=True, array_like=True):
    """What a list says of a network: until when, in seconds since the Unix epoch, and why."""

    until: float = float("inf")
    reason: str = ""


class Ban(msgspec.Struct, frozen=True, array_like=True):
    """A subject that is refused, or challenged, until a time in seconds since the Unix epoch."""

    until: float
    reason: str = ""
    challenge: bool = False


class CsrfPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The check for forged requests; `bypass` holds (path, methods)."""

    mode: Mode = Mode.BLOCK
    trusted_origins: tuple[str, ...] = ()
    bypass: tuple[tuple[str, tuple[str, ...]], ...] = ()


class LoginPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Where people log in.

    Attributes:
        paths: exact paths.
        methods: that try a log-in.
        failures: statuses that say it failed.
        account_fields: names of form or JSON fields that hold the account's name; the first that is there counts.
        limits: when failures are too many.
    """

    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("POST",)
    failures: tuple[int, ...] = (401, 403)
    account_fields: tuple[str, ...] = ("username", "email", "login", "user", "account")
    limits: LoginLimits = LoginLimits()


class FloodPolicy(msgspec.Struct, frozen=True, array_like=True):
    """A route under a flood: requests per second that each known client or /24 keeps, and that any other keeps.

    Attributes:
        route: its name; `*` for all routes together.
        allowances: by subject.
        stranger: of any other client; infinite where nobody else is held.
        network: of any other /24 as a whole; infinite likewise.
    """

    route: str
    allowances: dict[str, float]
    stranger: float
    network: float = float("inf")


class ChallengeKey(msgspec.Struct, frozen=True):
    """What challenges are sealed with, and how hard they are."""

    secret: bytes
    bits: int = 16

    def __repr__(self) -> str:
        return f"ChallengeKey(bits={self.bits})"


class ThreatSnapshot(Snapshot, frozen=True, kw_only=True):
    """Everything that guards need to decide.

    Attributes:
        policy: of inspection; its mode is that of requests whose path no entry of `routes` names.
        routes: (prefix of the path on whole segments, mode); the longest prefix counts.
        hold_bytes: of a body that are held back for inspection before anything goes upstream; 0 for none.
        allow: networks that nothing is asked of; owners are indexes into `entries`.
        block: networks that are refused; the same.
        entries: of both lists.
        bans: by subject, such as `client:192.0.2.7`, `network:192.0.2.0/24` or `account:alice`.
        csrf: None when forged requests are not looked for.
        logins: None when there is no log-in to watch.
        response: when repeated threats lead to what.
        floods: routes under a flood.
        challenge: None when nobody is challenged.
        probing: different paths that one client may ask for in vain within a minute.
        slow: requests of one client that may be cut off for slowness; one is forgotten each half minute.
        judge_clients: whether to tell what each client did.
    """

    policy: Policy = Policy()
    routes: tuple[tuple[str, Mode], ...] = ()
    hold_bytes: int = 65_536
    allow: PackedNetworks = PackedNetworks()
    block: PackedNetworks = PackedNetworks()
    entries: tuple[ListEntry, ...] = ()
    bans: dict[str, Ban] = msgspec.field(default_factory=dict)
    csrf: CsrfPolicy | None = None
    logins: LoginPolicy | None = None
    response: ResponseLimits = ResponseLimits()
    floods: tuple[FloodPolicy, ...] = ()
    challenge: ChallengeKey | None = None
    probing: int = 40
    slow: int = 20
    judge_clients: bool = False


class RouteCounts(msgspec.Struct, frozen=True, array_like=True):
    """What a guard saw of a route; cumulative.

    Attributes:
        seconds: the sum of the times until answers began.
        bytes: of request bodies that were held.
    """

    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    seconds: float = 0.0
    bytes: int = 0


class RouteAsked(msgspec.Struct, frozen=True, array_like=True):
    """What came of a route since the last report.

    Attributes:
        sources: the different clients, as `DistinctCounter.packed` gives them.
    """

    requests: int
    sources: bytes = b""


class LoginFailures(msgspec.Struct, frozen=True, array_like=True):
    """Log-ins that failed since the last report; `account` is empty where it is not known."""

    client: str
    account: str
    count: int


class SlowClient(msgspec.Struct, frozen=True, array_like=True):
    """Requests of a client that were cut off since the last report, since their head, body or answer went too slowly.

    Attributes:
        how: `head`, `body` or `read`.
    """

    client: str
    how: str
    count: int


class ThreatReport(Report, frozen=True, kw_only=True):
    """What one guard saw; counts are cumulative; events, failures, `asked` and talkers are since the last report.

    Attributes:
        inspected: requests that were looked into.
        partial: of them, those that could not be looked into wholly.
        actions: requests by what was done, the allowed left out.
        shadowed: requests by what would have been done.
        classes: findings by class.
        refusals: refused requests by why: `listed`, `banned`, `challenged`, `csrf`, `flood`, `inspection`.
        events: at most 1000.
        lost: events that there was no room for, cumulative.
        failures: failed log-ins.
        logged_in: accounts and addresses that succeeded after failures.
        slow: clients that were too slow.
        deeds: what clients did, every few seconds where `ThreatSnapshot.judge_clients` asks for it.
        routes: by route.
        asked: by route.
        talkers: by route, those who asked most.
        span: seconds since the last report; 0 where it is not known.
        full: whether this is the first report to this control process, which tells of a past that it has no part in.
    """

    inspected: int = 0
    partial: int = 0
    actions: dict[str, int] = msgspec.field(default_factory=dict)
    shadowed: dict[str, int] = msgspec.field(default_factory=dict)
    classes: dict[str, int] = msgspec.field(default_factory=dict)
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    events: tuple[ThreatEvent, ...] = ()
    lost: int = 0
    failures: tuple[LoginFailures, ...] = ()
    logged_in: tuple[tuple[str, str], ...] = ()
    slow: tuple[SlowClient, ...] = ()
    deeds: tuple[ClientDeeds, ...] = ()
    routes: dict[str, RouteCounts] = msgspec.field(default_factory=dict)
    asked: dict[str, RouteAsked] = msgspec.field(default_factory=dict)
    talkers: dict[str, tuple[Talker, ...]] = msgspec.field(default_factory=dict)
    span: float = 0.0
    full: bool = False
