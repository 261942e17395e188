"""What an operator should know about the load balancer, in words."""

from collections.abc import Mapping, Sequence

from seawall.systems.balancing.dns import NameWatch
from seawall.systems.balancing.fleet import Fleet
from seawall.systems.balancing.model import InstanceState
from seawall.systems.balancing.registry import Registry

__all__ = ["findings"]


def findings(
    registry: Registry, names: NameWatch, conflicts: Mapping[str, Sequence[str]], fleet: Fleet
) -> dict[str, str]:
    """Return what is wrong by where it was found; empty when all is well."""
    found: dict[str, str] = {}
    if registry.trouble:
        found["state"] = f"going on with the last known instances: {registry.trouble}"
    for key, reason in registry.unreadable.items():
        found[f"registry:{key}"] = f"this record cannot be read and is left out: {reason}"
    for name, reason in names.failures.items():
        kept = "the last answer is kept" if names.addresses(name) else "there is no earlier answer"
        found[f"dns:{name}"] = f"not resolved ({reason}); {kept}"
    for pool, left_out in conflicts.items():
        if left_out:
            found[f"conflicts:{pool}"] = "; ".join(left_out)
    for pool, roster in fleet.rosters.items():
        states = {roster.state(instance_id) for instance_id in roster.instances}
        if not states:
            found[f"pool:{pool}"] = "it has no instance"
        elif not states & {InstanceState.HEALTHY, InstanceState.STARTING}:
            found[f"pool:{pool}"] = f"none of its {len(roster.instances)} instances is healthy"
    return found
