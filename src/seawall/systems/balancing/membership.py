"""Bring the sources of instances together: file, registry and DNS in; members, names and checks out."""

import ssl
from collections.abc import Callable, Iterable, Mapping

import msgspec

from seawall.core.errors import ConfigurationError
from seawall.systems.balancing.checker import CheckPlan
from seawall.systems.balancing.checks import CheckTarget
from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.fleet import Fleet
from seawall.systems.balancing.members import Member, Override, Source, merge
from seawall.systems.balancing.plan import PoolPlan

__all__ = ["TlsContexts", "check_plans", "members_of", "names_of"]

Addresses = Callable[[str], tuple[str, ...]]


class TlsContexts:
    """Verifying TLS contexts for health checks, one for each CA file, made when first needed."""

    def __init__(self) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}

    def get(self, ca_file: str) -> ssl.SSLContext:
        """Return the context for a CA file, or for the system's CAs when it is empty.

        Raises:
            ConfigurationError: the file cannot be read or holds no certificate.
        """
        if ca_file not in self._contexts:
            try:
                self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file or None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"CA file {ca_file!r} cannot be used: {getattr(error, 'strerror', None) or error}",
                    hint="give a readable file with certificates in PEM form",
                ) from error
        return self._contexts[ca_file]


def members_of(
    plan: PoolPlan, registered: Iterable[Member], overrides: dict[str, Override], addresses: Addresses
) -> tuple[dict[str, Member], list[str]]:
    """Return one pool's members by id with their addresses, and in words what had to be left out."""
    expanded = [
        Member(
            id=f"{endpoint.host}@{_bracketed(address)}:{endpoint.port}",
            url=endpoint.url,
            source=Source.DNS,
            addresses=(address,),
        )
        for endpoint in plan.dns
        for address in (addresses(endpoint.host) if endpoint.is_name else (endpoint.host,))
    ]
    merged, findings = merge(plan.file, registered, expanded, overrides)
    for instance_id, member in merged.items():
        if member.source is not Source.DNS and (endpoint := Endpoint.parse(member.url)).is_name:
            known = addresses(endpoint.host)
            if known:
                merged[instance_id] = msgspec.structs.replace(member, addresses=known)
    return merged, findings


def names_of(plans: Iterable[PoolPlan], fleet: Fleet) -> set[str]:
    """Return every host name that must be resolved: of DNS pools and of instances."""
    names = {endpoint.host for plan in plans for endpoint in plan.dns if endpoint.is_name}
    for roster in fleet.rosters.values():
        for instance in roster.instances.values():
            endpoint = Endpoint.parse(instance.member.url)
            if endpoint.is_name:
                names.add(endpoint.host)
    return names


def check_plans(plans: Mapping[str, PoolPlan], fleet: Fleet, contexts: TlsContexts) -> dict[tuple[str, str], CheckPlan]:
    """Return the checks to make, by (pool, instance id)."""
    checks: dict[tuple[str, str], CheckPlan] = {}
    for pool, plan in plans.items():
        policy = plan.policy.check
        if policy.kind == "none":
            continue
        for instance_id, instance in fleet.rosters[pool].instances.items():
            endpoint = Endpoint.parse(instance.member.url)
            tls = contexts.get(plan.template.tls_ca_file) if endpoint.scheme == "https" else None
            target = CheckTarget(endpoint, instance.member.addresses, tls, plan.template.tls_server_name)
            checks[pool, instance_id] = CheckPlan(target, policy)
    return checks


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
