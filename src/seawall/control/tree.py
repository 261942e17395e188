"""The whole configuration as one tree: the sections of the gateway and those of every system."""

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from seawall.config.address import ListenAddress, parse_listen
from seawall.config.admin import AdminSettings
from seawall.config.control import ControlSettings
from seawall.config.flags import DEFAULT_POOL
from seawall.config.gateway import GatewaySettings
from seawall.config.section import Finding, Section, refusal, setting
from seawall.config.state import StateSettings
from seawall.systems.balancing.settings import BalancingSettings
from seawall.systems.identity.settings import IdentitySettings
from seawall.systems.ratelimit.settings import RateLimitSettings
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["Settings"]

_ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


class Settings(Section):
    """Everything that `seawall.toml`, the environment and the command line can set."""

    gateway: GatewaySettings = setting(
        GatewaySettings(), "How the HTTP data plane listens and what it takes from clients."
    )
    admin: AdminSettings = setting(AdminSettings(), "Where the admin API listens and who may ask it.")
    state: StateSettings = setting(StateSettings(), "Where shared truth is kept.")
    control: ControlSettings = setting(ControlSettings(), "How the control process and its workers keep in touch.")
    balancing: BalancingSettings = setting(BalancingSettings(), "Pools of instances, and the routes to them.")
    identity: IdentitySettings = setting(IdentitySettings(), "Who calls: API keys, signed tokens, trusted proxies.")
    ratelimit: RateLimitSettings = setting(
        RateLimitSettings(), "How many requests pass, of whom; for the gateway, and for AdaptiveRateLimiter."
    )
    threats: ThreatDetectionSettings = setting(ThreatDetectionSettings(), "Who attacks, and what is done about it.")

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        findings: list[Finding] = []
        if self.admin.enabled and _collide(parse_listen(self.gateway.listen), parse_listen(self.admin.listen)):
            text = f'"{self.admin.listen}" is taken by gateway.listen = "{self.gateway.listen}"; change one'
            findings.append(Finding(("admin", "listen"), text))
        if len(self.balancing.pools) > 1 and not self.balancing.routes:
            names = ", ".join(self.balancing.pools)
            text = f"no route chooses among the {len(self.balancing.pools)} pools ({names}); add [[balancing.routes]]"
            findings.append(Finding(("balancing", "routes"), text))
        if findings:
            raise refusal(findings)
        return self

    def remarks(self) -> Iterator[Finding]:
        """Yield what leaves requests without an answer, or a pool without requests."""
        pools, routes = self.balancing.pools, self.balancing.routes
        if not pools:
            text = "there is no pool, so no request can be passed on; give --upstream URL or add [balancing.pools.NAME]"
            yield Finding(("balancing", "pools"), text)
        reached = {route.pool for route in routes} if routes else set(pools)
        for name in pools:
            if name not in reached:
                text = f'no route leads to this pool, so it gets no requests; add a route with pool = "{name}"'
                if name == DEFAULT_POOL:
                    text += ", which is also where --upstream puts its instances"
                yield Finding(("balancing", "pools", name), text)
        yield from (Finding(("identity", *path), text, other) for path, text, other in self.identity.remarks())
        if self.identity.trusted_headers.enabled and not self.gateway.trusted_proxies:
            text = "gateway.trusted_proxies is empty, so nobody's word counts; list the proxies that write these fields"
            yield Finding(("identity", "trusted_headers"), text)
        yield from self._limits_for_nobody()

    def _limits_for_nobody(self) -> Iterator[Finding]:
        """Yield what rules ask of requests that no request of this gateway has; an application may well have it."""
        routes = {route.name for route in self.balancing.routes} or {"route-1"}
        told = _told_of_callers(self.identity)
        places = [
            *((("rules", at), rule.match, rule.key) for at, rule in enumerate(self.ratelimit.rules)),
            *((("priorities", at), one.match, ()) for at, one in enumerate(self.ratelimit.priorities)),
        ]
        for place, match, key in places:
            unknown = [name for name in match.routes if name not in routes]
            if unknown:
                text = f'the gateway has no route "{unknown[0]}"; routes: {", ".join(sorted(routes))}'
                yield Finding(("ratelimit", *place, "match", "routes"), text)
            named = {"user": match.users, "tenant": match.tenants, "role": set(match.roles) - {"anonymous", "user"}}
            for what, names in named.items():
                if names and what not in told:
                    text = f"nobody has a {what} here, so this never matches; see [identity]"
                    yield Finding(("ratelimit", *place, "match", f"{what}s"), text)
            for part in key:
                if part in {"user", "tenant", "api-key"} and part not in told:
                    text = f'nothing tells "{part}" here, so callers count by their address; see [identity]'
                    yield Finding(("ratelimit", *place, "key"), text)


def _told_of_callers(identity: IdentitySettings) -> set[str]:
    """Return what the gateway may find out of callers: `user`, `tenant`, `role`, `api-key`."""
    told = {"user", "tenant", "role", "api-key"} if identity.api_keys.enabled else set()
    if identity.jwt.enabled:
        claims = {"user": identity.jwt.user_claim, "tenant": identity.jwt.tenant_claim, "role": identity.jwt.role_claim}
        told |= {what for what, claim in claims.items() if claim}
    return told | {what for what in ("user", "tenant", "role") if getattr(identity.trusted_headers, what)}


def _collide(one: ListenAddress, other: ListenAddress) -> bool:
    """Tell whether two sockets cannot be bound at the same time; port 0 never collides."""
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or one.port == 0:
        return False
    return one.host == other.host or bool(_ANY_ADDRESS & {one.host, other.host})
