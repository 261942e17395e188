"""What the admin API counts about itself."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version

from seawall.core.instruments import InstrumentRegistry, Sample

__all__ = ["ADMIN_INSTRUMENTS", "AdminCounters"]

ADMIN_INSTRUMENTS = InstrumentRegistry()

_REQUESTS = ADMIN_INSTRUMENTS.counter(
    "seawall_admin_requests_total", "Answers of the admin API by method and status code.", ("method", "status")
)
_REFUSALS = ADMIN_INSTRUMENTS.counter(
    "seawall_admin_authentication_failures_total",
    "Admin API requests refused for their credentials: missing, malformed, unknown, expired, throttled or unavailable.",
    ("reason",),
)
_AUDIT = ADMIN_INSTRUMENTS.counter(
    "seawall_admin_audit_entries_total", "Audit entries written or failed to be written.", ("result",)
)
_BUILD = ADMIN_INSTRUMENTS.gauge("seawall_build_info", "Always 1; the label tells the running version.", ("version",))

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AdminCounters:
    """Plain counts, exported at a scrape; one per admin API."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._audit: Counter[str] = Counter()

    def answered(self, method: str, status: int) -> None:
        """Count an answer; unknown methods share one label so that clients cannot grow the page."""
        self._requests[method if method in _METHODS else "other", str(status)] += 1

    def refused(self, reason: str) -> None:
        """Count a refusal for the credentials."""
        self._refusals[reason] += 1

    def audited(self, result: str) -> None:
        """Count an audit write: `written` or `failed`."""
        self._audit[result] += 1

    def samples(self) -> Iterator[Sample]:
        """Yield every series."""
        for (method, status), count in self._requests.items():
            yield Sample(_REQUESTS, (method, status), count)
        for reason, count in self._refusals.items():
            yield Sample(_REFUSALS, (reason,), count)
        for result, count in self._audit.items():
            yield Sample(_AUDIT, (result,), count)
        yield Sample(_BUILD, (version("seawall"),), 1)
