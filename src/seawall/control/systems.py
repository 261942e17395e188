"""The systems that this release runs, in one list."""

from seawall.core.system import System
from seawall.systems.balancing.system import BALANCING
from seawall.systems.identity.system import IDENTITY
from seawall.systems.ratelimit.system import RATELIMIT
from seawall.systems.threats.system import THREATS

__all__ = ["SYSTEMS"]

SYSTEMS: tuple[System, ...] = (BALANCING, IDENTITY, RATELIMIT, THREATS)
