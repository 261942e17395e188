"""What every algorithm answers, and the guard that every cost passes."""

import math
from typing import TypeVar

from seawall.core.errors import SeawallError

__all__ = ["SLACK", "CostError", "Verdict", "limit_error", "require_positive"]

SLACK = 1 / 1024
"""Requests by which a limit may be passed, so that rounding never refuses the last request of a quota.

It widens the bucket once and does not add up. A power of two, so that exact arithmetic stays exact.
"""

State = TypeVar("State")

Verdict = tuple[bool, State, float, float, float]
"""(allowed, new state, remaining, reset_after, retry_after).

The new state is to be kept after a refusal too: nothing is taken then, but a clock that went backwards is allowed for,
and a caller that dropped it would refuse until the clock has caught up.

`remaining` is in requests of cost 1 after this one, `reset_after` the seconds until the quota is whole again when
nothing more is asked, `retry_after` the seconds until the same cost would pass: 0 when it has passed, infinite when it
exceeds what the limit can ever admit. A plain tuple: a named one costs as much again as the decision.
"""


class CostError(SeawallError):
    """A request's cost is negative, infinite or not a number."""

    code = "cost-invalid"

    def __init__(self, cost: float) -> None:
        super().__init__(
            f"a request cannot cost {cost}", hint="A cost is a finite number of requests, 0 or more; 0 only looks."
        )
        self.cost = cost


def limit_error(name: str, value: float) -> SeawallError:
    """Return the error for a limit, window or burst that no limit can be built from."""
    return SeawallError(f"a limit cannot have {name} = {value}", hint=f"Give a finite {name} above 0.")


def require_positive(**values: float) -> None:
    """Refuse values that are not finite and above 0, by name.

    Raises:
        SeawallError: names the first such value.
    """
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise limit_error(name, value)
