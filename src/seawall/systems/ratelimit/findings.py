"""What an operator should know about the limits, in words."""

from collections.abc import Mapping

from seawall.systems.ratelimit.courier import Courier
from seawall.systems.ratelimit.penalties import Penalties
from seawall.systems.ratelimit.rulebook import Rulebook

__all__ = ["findings"]

_MAX_UNREADABLE = 10


def findings(
    book: Rulebook,
    left_out: Mapping[str, str],
    penalties: Penalties,
    courier: Courier,
    *,
    away: bool,
    failure: str,
) -> dict[str, str]:
    """Return what is wrong by where it was found; empty when all is well.

    Args:
        book: what the store says.
        left_out: run-time rules that do not fit the file's, with the reason.
        penalties: this gateway's.
        courier: what other gateways are told.
        away: whether shared counts did not answer of late.
        failure: of the controller's step; empty for none.
    """
    found: dict[str, str] = {}
    if book.trouble:
        found["state"] = f"going on with the last known limits: {book.trouble}"
    for key, reason in list(book.unreadable.items())[:_MAX_UNREADABLE]:
        found[f"record:{key}"] = f"this record cannot be read and is left out: {reason}"
    for rule, reason in left_out.items():
        found[f"rule:{rule}"] = f"set at run time, and left out: {reason}"
    if penalties.let_off:
        found["penalties"] = f"{penalties.let_off} were dropped because too many keys had one at once"
    if courier.lost:
        found["gateways"] = f"{courier.lost} messages did not reach the other gateways"
    if away:
        found["counts"] = "shared counts did not answer in time of late; each rule's on_store_failure applies"
    if failure:
        found["step"] = f"factors and penalties stand still: {failure}"
    return found
