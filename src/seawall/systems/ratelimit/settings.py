"""The `[ratelimit]` table, whole in one file so that a reader finds every key: base quota, rules, factors, ladder."""

import difflib
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from seawall.config.address import check_header_name, check_network
from seawall.config.http import check_field_value, check_method, check_path_prefix
from seawall.config.section import (
    Finding,
    Integer,
    Milliseconds,
    Number,
    Section,
    Share,
    Switch,
    refusal,
    setting,
)
from seawall.systems.ratelimit.condition import Condition, check_key_part, covers

__all__ = [
    "DEFAULT_BASE",
    "EndpointSettings",
    "LadderSettings",
    "LoadSettings",
    "PrioritySettings",
    "RateLimitSettings",
    "RuleSettings",
    "SheddingSettings",
    "ThreatSettings",
    "WindowSettings",
]

DEFAULT_BASE = 100.0
"""Requests per window of a limiter inside an application when nobody gives a base or a rule."""

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_ROLES = {"admin": 5.0, "user": 1.0, "viewer": 0.5, "anonymous": 0.3}

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
NameOrNone = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")]
Role = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]
HeaderName = Annotated[str, AfterValidator(check_header_name), AfterValidator(str.lower)]
Method = Annotated[str, AfterValidator(check_method)]
Prefix = Annotated[str, AfterValidator(check_path_prefix)]
Requests = Annotated[Number, Field(gt=0, le=1e9)]
RequestsOrZero = Annotated[Number, Field(ge=0, le=1e9)]
Multiplier = Annotated[Number, Field(gt=0, le=1000)]
Network = Annotated[str, AfterValidator(check_network), AfterValidator(lambda text: str(ipaddress.ip_network(text)))]

# The values of enumerations of the model; written out because settings and model know nothing of one another.
AlgorithmSetting = Literal["gcra", "sliding-window", "fixed-window", "concurrency"]
ModeSetting = Literal["off", "shadow", "enforce"]
CountsSetting = Literal["auto", "local", "strict", "leased"]
"""Those of model.Counting, and `auto`, which the plan resolves."""
StoreFailureSetting = Literal["local", "open", "closed"]


class EndpointSettings(Section):
    """A multiplier for the requests to an endpoint; of several the first that matches counts."""

    factor: Multiplier = Field(
        description="What the limit is multiplied with.", json_schema_extra={"x-unit": "multiple"}
    )
    paths: tuple[Prefix, ...] = setting((), "Path prefixes, matched on whole segments; empty for any.", max_length=1000)
    methods: tuple[Method, ...] = setting((), "Methods; empty for any.", max_length=100)


class MatchSettings(Section):
    """What a request must be."""

    routes: tuple[Word, ...] = setting((), "Names of routes; empty for any.", max_length=1000)
    paths: tuple[Prefix, ...] = setting((), "Path prefixes, matched on whole segments; empty for any.", max_length=1000)
    methods: tuple[Method, ...] = setting((), "Methods; empty for any.", max_length=100)
    headers: dict[HeaderName, Annotated[str, AfterValidator(check_field_value)]] = setting(
        {}, "Header names with the exact values that they must have; * for any value."
    )
    roles: tuple[Role, ...] = setting((), "Roles of the caller; empty for any.", max_length=100)
    users: tuple[Word, ...] = setting((), "Names of users; empty for any.", max_length=1000)
    tenants: tuple[Word, ...] = setting((), "Names of tenants; empty for any.", max_length=1000)
    clients: tuple[Network, ...] = setting((), "Addresses and networks of the client; empty for any.", max_length=1000)

    @property
    def condition(self) -> Condition:
        """The condition as engines take it."""
        return Condition(
            routes=self.routes,
            paths=self.paths,
            methods=self.methods,
            headers=dict(self.headers),
            roles=self.roles,
            users=self.users,
            tenants=self.tenants,
            clients=self.clients,
        )


class PrioritySettings(Section):
    """The tier of the requests that match; of several the first that matches counts."""

    tier: Integer = Field(
        ge=0,
        le=5,
        description="0 critical, 1 high, 2 normal, 3 low, 4 lower, 5 background; shed from 5 down.",
        json_schema_extra={"x-unit": "tier"},
    )
    match: MatchSettings = setting(MatchSettings(), "Which requests it is for; all, when nothing is given.")


class WindowSettings(Section):
    """How many requests pass in which time."""

    name: NameOrNone = setting("", "Name of the policy in responses; empty takes the rule's id, numbered if need be.")
    limit: Requests = Field(
        description="Requests per window; for concurrency requests in flight.", json_schema_extra={"x-unit": "requests"}
    )
    window_ms: Milliseconds = setting(
        60_000, "Length of the window; for concurrency the time after which a leaked permit is free again.", unit="ms"
    )
    algorithm: AlgorithmSetting = setting("gcra", "How it counts.")
    burst: RequestsOrZero = setting(
        0, "For gcra: requests that an idle key may make at once; 0 for as many as the limit.", unit="requests"
    )
    cost: Annotated[Number, Field(gt=0, le=1e6)] = setting(
        1, "What a request of cost 1 takes; not for concurrency.", unit="requests"
    )
    min: RequestsOrZero = setting(
        0, "Lowest effective limit that factors lead to; 0 for a tenth of the limit, at least 1.", unit="requests"
    )
    max: RequestsOrZero = setting(
        0, "Highest effective limit that factors lead to; 0 for ten times the limit.", unit="requests"
    )

    @property
    def lowest(self) -> float:
        """The lowest effective limit."""
        return self.min or min(self.limit, max(self.limit / 10.0, 1.0))

    @property
    def highest(self) -> float:
        """The highest effective limit."""
        return self.max or self.limit * 10.0

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        findings: list[Finding] = []
        if self.min > self.limit:
            findings.append(Finding(("min",), f"{self.min:g} is above the limit itself, {self.limit:g}"))
        if self.max and self.max < self.limit:
            findings.append(Finding(("max",), f"{self.max:g} is below the limit itself, {self.limit:g}"))
        if self.algorithm != "gcra" and self.burst:
            findings.append(Finding(("burst",), f'is for algorithm = "gcra", and algorithm is "{self.algorithm}"'))
        if self.algorithm == "concurrency" and self.cost != 1:
            findings.append(Finding(("cost",), "concurrency counts requests in flight, each as one; remove it"))
        room = (self.burst or self.limit) if self.algorithm == "gcra" else self.limit
        if self.cost > max(room, 1.0):
            text = f"{self.cost:g} is more than the {room:g} that pass at once, so no request could ever pass"
            findings.append(Finding(("cost",), text))
        if findings:
            raise refusal(findings)
        return self


class RuleSettings(Section):
    """A limit on the requests that match, counted by key."""

    id: Name = Field(description="Name in responses, metrics and logs; unique.")
    mode: ModeSetting = setting(
        "enforce", "enforce refuses, shadow only reports what it would refuse, off takes it out."
    )
    match: MatchSettings = setting(MatchSettings(), "Which requests it takes; all, when nothing is given.")
    key: tuple[Annotated[str, AfterValidator(check_key_part)], ...] = setting(
        ("identity",),
        "What requests are counted by: identity, client, client/PREFIX, user, tenant, api-key, role, route, "
        "header:NAME, global.",
        min_length=1,
        max_length=8,
    )
    windows: tuple[WindowSettings, ...] = setting(
        (), "Windows, checked all or nothing; a rule without any exempts what it matches.", max_length=8
    )
    fallthrough: Switch = setting(False, "Try the rules after it as well.")
    adaptive: Switch = setting(True, "Follow load and threat.", inherits="ratelimit.adaptive")
    roles: dict[Role, Multiplier] = setting({}, "Multipliers by role.", inherits="ratelimit.roles")
    endpoints: tuple[EndpointSettings, ...] = setting(
        (), "Multipliers by endpoint.", inherits="ratelimit.endpoints", max_length=1000
    )
    counts: CountsSetting = setting("auto", "Where its counts are.", inherits="ratelimit.counts")
    on_store_failure: StoreFailureSetting = setting(
        "local", "What happens while shared counts are away.", inherits="ratelimit.on_store_failure"
    )

    @model_validator(mode="after")
    def _refuse_twins(self) -> Self:
        names: dict[str, int] = {}
        findings: list[Finding] = []
        for index in range(len(self.windows)):
            name = self.window_name(index)
            if name in names:
                text = f'"{name}" is also the name of {{other}}; give each its own'
                findings.append(Finding(("windows", index, "name"), text, ("windows", names[name])))
            names.setdefault(name, index)
        if findings:
            raise refusal(findings)
        return self

    def window_name(self, index: int) -> str:
        """Return the name of a window's policy."""
        return self.windows[index].name or (self.id if len(self.windows) == 1 else f"{self.id}-{index + 1}")


class LadderSettings(Section):
    """What follows when a key goes on after it was refused; every step ends by itself."""

    enabled: Switch = setting(True, "Count violations, and act on them.")
    half_life_ms: Milliseconds = setting(60_000, "Time in which counted violations halve.", unit="ms")
    warn_at: Number = setting(20, "Violations at which a warning is logged.", unit="violations", gt=0)
    throttle_at: Number = setting(100, "Violations at which the key's limits are halved.", unit="violations", gt=0)
    block_at: Number = setting(500, "Violations at which the key is blocked.", unit="violations", gt=0)
    block_ms: Milliseconds = setting(
        60_000, "Length of a first block; each further one lasts twice as long.", unit="ms"
    )
    longest_block_ms: Milliseconds = setting(3_600_000, "Longest block.", unit="ms")
    report_at: Integer = setting(
        2, "Blocks in a row from which on threat detection is told.", unit="blocks", ge=1, le=1000
    )

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        findings: list[Finding] = []
        if self.throttle_at < self.warn_at:
            findings.append(Finding(("throttle_at",), f"{self.throttle_at:g} is below warn_at, {self.warn_at:g}"))
        if self.block_at <= self.throttle_at:
            findings.append(Finding(("block_at",), f"{self.block_at:g} is not above throttle_at, {self.throttle_at:g}"))
        if self.longest_block_ms < self.block_ms:
            text = f"{self.longest_block_ms:g} is below block_ms, {self.block_ms:g}"
            findings.append(Finding(("longest_block_ms",), text))
        if findings:
            raise refusal(findings)
        return self


class ThreatSettings(Section):
    """How reports of threats lower limits."""

    half_life_ms: Milliseconds = setting(300_000, "Time in which a reported threat halves.", unit="ms")
    floor: Annotated[Share, Field(gt=0)] = setting(
        0.1, "Lowest factor that threats lead to, above 0 and up to 1.", unit="share"
    )


class LoadSettings(Section):
    """What is tolerated of the server before limits fall; the largest of these, each against its bound, counts."""

    latency_ratio: Annotated[Number, Field(gt=1, le=1000)] = setting(
        2.0, "Latency as a multiple of its own long-term mean.", unit="multiple"
    )
    error_rate: Annotated[Share, Field(gt=0)] = setting(0.1, "Share of responses that are errors.", unit="share")
    loop_lag_ms: Milliseconds = setting(50, "Lateness of the event loop, where it is observed.", unit="ms")
    max_in_flight: RequestsOrZero = setting(
        0, "Requests in flight; 0 does not look at them, and lets shedding find out.", unit="requests"
    )
    floor: Annotated[Share, Field(gt=0)] = setting(
        0.1, "Lowest factor that load leads to, above 0 and up to 1.", unit="share"
    )


class SheddingSettings(Section):
    """Turning requests away by priority while the server is overloaded, whatever their quotas."""

    enabled: Switch = setting(False, "Shed requests, those of the highest tier number first.")
    slack: Annotated[Number, Field(gt=1, le=100)] = setting(
        2.0, "Requests that are let in for each one that the server serves; lower sheds earlier.", unit="multiple"
    )


class RateLimitSettings(Section):
    """How many requests pass, of whom: in the gateway, and in an application that uses AdaptiveRateLimiter."""

    base: RequestsOrZero = setting(
        0,
        "Requests per window and identity for what no rule takes; 0 for no such limit.",
        unit="requests",
        env="RATE_LIMIT_BASE",
    )
    window_ms: Milliseconds = setting(60_000, "Window of the base limit.", unit="ms", env="RATE_LIMIT_WINDOW")
    adaptive: Switch = setting(True, "Let limits follow load and threat.", env="RATE_LIMIT_ADAPTIVE")
    min: RequestsOrZero = setting(
        0,
        "Lowest base limit that factors lead to; 0 for a tenth of it, at least 1.",
        unit="requests",
        env="RATE_LIMIT_MIN",
    )
    max: RequestsOrZero = setting(
        0, "Highest base limit that factors lead to; 0 for ten times.", unit="requests", env="RATE_LIMIT_MAX"
    )
    burst: RequestsOrZero = setting(
        0, "Requests of an idle identity that pass at once; 0 for as many as the base limit.", unit="requests"
    )
    mode: ModeSetting = setting("enforce", "What the base limit does: enforce, shadow or off.")
    counts: CountsSetting = setting(
        "auto",
        "Where counts are: local in each process, with its share of the limit; strict shared by all processes, asked "
        "for each decision; leased shared as well, with those of busy keys paid in advance; auto is leased where "
        "several processes share a limit, else local. Shared counts are in Redis where the state is, else in the "
        "control process.",
    )
    on_store_failure: StoreFailureSetting = setting(
        "local",
        "What happens to requests while shared counts are away: local counts in each process, with its share of the "
        "limit; open lets them pass; closed refuses them.",
    )
    headers: tuple[Literal["ratelimit", "x-ratelimit"], ...] = setting(
        ("ratelimit",), "Header families of responses: ratelimit (IETF) and x-ratelimit (older)."
    )
    max_keys: Integer = setting(
        65_536, "Keys per rule whose counts are kept, at most; each takes some 300 bytes.", unit="keys", ge=16, le=10**7
    )
    roles: dict[Role, Multiplier] = setting(
        _ROLES, "Multipliers by role; what is given here changes or adds to the defaults. 1 for any other role."
    )
    endpoints: tuple[EndpointSettings, ...] = setting(
        (EndpointSettings(factor=0.5, methods=_WRITES),),
        "Multipliers by endpoint; the first that matches counts.",
        max_length=1000,
    )
    priorities: tuple[PrioritySettings, ...] = setting(
        (), "Tiers of requests for load shedding; the first that matches counts, 2 where none does.", max_length=1000
    )
    rules: tuple[RuleSettings, ...] = setting(
        (), "Rules in order; the first that matches decides, unless it says fallthrough.", max_length=500
    )
    ladder: LadderSettings = setting(LadderSettings(), "What follows repeated violations.")
    load: LoadSettings = setting(LoadSettings(), "What is tolerated of the server before limits fall.")
    threat: ThreatSettings = setting(ThreatSettings(), "How reports of threats lower limits.")
    shedding: SheddingSettings = setting(SheddingSettings(), "Turning requests away by priority under overload.")

    @model_validator(mode="after")
    def _settle(self) -> Self:
        object.__setattr__(self, "roles", {**_ROLES, **self.roles})
        # Effective values are settled once, here, so that no reader needs to know where they came from.
        object.__setattr__(self, "rules", tuple(self._inherit(rule) for rule in self.rules))
        findings = [*self._base_findings(), *self._rule_findings(), *self._role_findings()]
        if findings:
            raise refusal(findings)
        return self

    def _inherit(self, rule: RuleSettings) -> RuleSettings:
        given = rule.model_fields_set
        return rule.model_copy(
            update={
                "adaptive": rule.adaptive if "adaptive" in given else self.adaptive,
                "roles": {**self.roles, **rule.roles},
                "endpoints": rule.endpoints if "endpoints" in given else self.endpoints,
                "counts": rule.counts if "counts" in given else self.counts,
                "on_store_failure": rule.on_store_failure if "on_store_failure" in given else self.on_store_failure,
            }
        )

    def _base_findings(self) -> Iterator[Finding]:
        if not self.base:
            return
        if self.min > self.base:
            yield Finding(("min",), f"{self.min:g} is above the limit itself, base = {self.base:g}")
        if self.max and self.max < self.base:
            yield Finding(("max",), f"{self.max:g} is below the limit itself, base = {self.base:g}")

    def _rule_findings(self) -> Iterator[Finding]:
        ids: dict[str, int] = {}
        policies: dict[str, tuple[int, int]] = {}
        final: list[tuple[int, Condition]] = []
        for index, rule in enumerate(self.rules):
            if rule.id in ids:
                text = f'"{rule.id}" is also the id of {{other}}; ids are unique'
                yield Finding(("rules", index, "id"), text, ("rules", ids[rule.id]))
            if rule.id == "base":
                yield Finding(("rules", index, "id"), '"base" is the id of the base limit; take another')
            ids.setdefault(rule.id, index)
            yield from self._window_findings(index, rule, policies)
            if rule.mode == "off":
                continue
            for earlier, wide in final:
                if covers(wide, rule.match.condition):
                    text = (
                        f"can never match, because {{other}} takes all of its requests and stands before it; move it "
                        f'up, or give "{self.rules[earlier].id}" fallthrough = true'
                    )
                    yield Finding(("rules", index), text, ("rules", earlier))
                    break
            if rule.mode == "enforce" and not rule.fallthrough:
                final.append((index, rule.match.condition))

    def _window_findings(
        self, index: int, rule: RuleSettings, policies: dict[str, tuple[int, int]]
    ) -> Iterator[Finding]:
        for at in range(len(rule.windows)):
            name = rule.window_name(at)
            if name in policies and policies[name][0] != index:
                other, place = policies[name]
                text = f'the policy "{name}" is also one of {{other}}; clients tell policies apart by name'
                yield Finding(("rules", index, "windows", at), text, ("rules", other, "windows", place))
            policies.setdefault(name, (index, at))

    def _role_findings(self) -> Iterator[Finding]:
        named: list[tuple[str, int, MatchSettings, Mapping[str, float]]] = [
            *(("rules", index, rule.match, rule.roles) for index, rule in enumerate(self.rules)),
            *(("priorities", index, one.match, self.roles) for index, one in enumerate(self.priorities)),
        ]
        for field, index, match, known in named:
            for at, role in enumerate(match.roles):
                if role in known:
                    continue
                close = difflib.get_close_matches(role, known, n=1)
                guess = f'did you mean "{close[0]}"? ' if close else ""
                text = (
                    f'nobody has the role "{role}", so this can never match; {guess}roles: {", ".join(known)}; '
                    f"a further one is added in ratelimit.roles"
                )
                yield Finding((field, index, "match", "roles", at), text)
