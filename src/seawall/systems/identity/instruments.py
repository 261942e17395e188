"""Identity's metrics, declared once; the controller turns its totals into their samples at a scrape."""

from seawall.core.instruments import InstrumentRegistry

__all__ = ["API_KEYS", "INSTRUMENTS", "KEY_FETCHES", "REFUSALS", "REQUESTS", "SIGNATURE_KEYS"]

_registry = InstrumentRegistry()

REQUESTS = _registry.counter(
    "identity_requests_total", "Requests let in by what proved who calls: a credential, or nothing.", ("source",)
)
REFUSALS = _registry.counter("identity_refusals_total", "Requests refused for their credentials.", ("reason",))
API_KEYS = _registry.gauge("identity_api_keys", "API keys that are known, expired ones among them.")
SIGNATURE_KEYS = _registry.gauge("identity_signature_keys", "Keys that tokens can be checked with.")
KEY_FETCHES = _registry.counter(
    "identity_key_fetches_total", "Fetches of the token issuer's keys by result.", ("result",)
)

INSTRUMENTS = tuple(_registry)
