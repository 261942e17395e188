"""The `[threats]` table: how strict inspection is, how much it reads, and what it leaves out."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from seawall.config.address import check_network
from seawall.config.section import Finding, Integer, Number, Section, Share, Switch, refusal, setting
from seawall.systems.threats.settings_conduct import (
    AlertSettings,
    BanSettings,
    ChallengeSettings,
    CsrfSettings,
    EventSettings,
    FloodSettings,
    LoginSettings,
    RouteModeSettings,
)

__all__ = ["CapSettings", "ExclusionSettings", "RuleModeSettings", "ThreatDetectionSettings", "ThresholdSettings"]

Rule = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}\*?$")]
Text = Annotated[str, StringConstraints(max_length=4096)]
Prefix = Annotated[str, StringConstraints(pattern=r"^(/.{0,1023})?$")]
Points = Annotated[Number, Field(gt=0, le=1000)]
Network = Annotated[str, AfterValidator(check_network)]

# The values of model.Mode, model.PlaceKind and inspection.policy.OverCap; written out because those stand above.
ModeSetting = Literal["off", "log", "block"]
ActionSetting = Literal["allow", "tag", "throttle", "challenge", "block"]
KindSetting = Literal[
    "path", "query", "cookie", "header", "form", "json", "multipart", "filename", "xml", "graphql", "body"
]
OverCapSetting = Literal["inspect-prefix", "reject", "pass"]


class ThresholdSettings(Section):
    """Scores from which on a request has a level, at paranoia 1; higher paranoia asks for less."""

    low: Points = setting(1.0, "Score of the level low.", unit="points")
    medium: Points = setting(3.0, "Score of the level medium.", unit="points")
    high: Points = setting(5.0, "Score of the level high.", unit="points")
    critical: Points = setting(8.0, "Score of the level critical.", unit="points")

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        scores = {"low": self.low, "medium": self.medium, "high": self.high, "critical": self.critical}
        names = list(scores)
        findings = [
            Finding((above,), f"{scores[above]:g} is not above {below}, {scores[below]:g}")
            for below, above in pairwise(names)
            if scores[above] <= scores[below]
        ]
        if findings:
            raise refusal(findings)
        return self


class ActionSettings(Section):
    """What follows from each level."""

    low: ActionSetting = setting("allow", "What is done at level low.")
    medium: ActionSetting = setting("tag", "What is done at level medium.")
    high: ActionSetting = setting("block", "What is done at level high.")
    critical: ActionSetting = setting("block", "What is done at level critical.")


class CapSettings(Section):
    """How much of a request is read."""

    bytes: Integer = setting(
        1_048_576, "Bytes of a body, after decompression.", unit="bytes", ge=1024, le=64 * 1_048_576
    )
    values: Integer = setting(10_000, "Names and values of a request.", unit="count", ge=16, le=1_000_000)
    depth: Integer = setting(64, "Levels of nesting in JSON and XML.", unit="levels", ge=1, le=10_000)
    part_bytes: Integer = setting(
        65_536,
        "Bytes of an uploaded text file; a larger one is not looked into.",
        unit="bytes",
        ge=0,
        le=16 * 1_048_576,
    )
    work: Integer = setting(
        2_000_000, "Characters that all detectors together read of a request.", unit="characters", ge=10_000, le=10**9
    )
    over: OverCapSetting = setting(
        "inspect-prefix",
        "What happens past a cap: inspect-prefix judges what was read, reject blocks, pass leaves the body out.",
    )


class RuleModeSettings(Section):
    """The mode of some rules."""

    rule: Rule = Field(description="A rule's id, a prefix that ends in *, or a class such as sql-injection.")
    mode: ModeSetting = Field(description="block counts, log only reports, off leaves out.")


class ExclusionSettings(Section):
    """Something that is not to be found at some place, proven by an example."""

    rule: Rule = Field(description="A rule's id, a prefix that ends in *, or a class such as sql-injection.")
    path: Prefix = setting("", "Prefix of the request's path, on whole segments; empty for all.")
    kinds: tuple[KindSetting, ...] = setting((), "Kinds of places; empty for all.", max_length=16)
    name: Text = setting("", "Name of the parameter, field or header, as findings give it; empty for all.")
    example: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = Field(
        description="A value that the rule finds; when it finds nothing in it, the exclusion is refused."
    )


class ThreatDetectionSettings(Section):
    """Threat detection, in the gateway and in `seawall inspect`."""

    enabled: Switch = setting(True, "Look at requests at all.", env="THREAT_DETECTION_ENABLED")
    mode: ModeSetting = setting("block", "block acts, log finds and reports but allows, off does not look.")
    paranoia: Integer = setting(
        1, "1 to 4; a higher level takes less for an attack, and more that is none.", unit="level", ge=1, le=4
    )
    thresholds: ThresholdSettings = setting(ThresholdSettings(), "Scores of the levels.")
    actions: ActionSettings = setting(ActionSettings(), "What follows from each level.")
    caps: CapSettings = setting(CapSettings(), "How much of a request is read.")
    rules: tuple[RuleModeSettings, ...] = setting(
        (), "Modes of single rules; the first that names a rule counts.", max_length=1000
    )
    exclusions: tuple[ExclusionSettings, ...] = setting((), "What is not to be found at some places.", max_length=1000)
    hold_bytes: Integer = setting(
        65_536,
        "Bytes of a body that the gateway holds back until they are inspected; 0 to inspect heads only.",
        unit="bytes",
        ge=0,
        le=16 * 1_048_576,
    )
    routes: tuple[RouteModeSettings, ...] = setting((), "Modes of paths.", max_length=1000)
    allow: tuple[Network, ...] = setting(
        (),
        "Addresses and networks of which nothing is asked; they win over every list and ban.",
        env="THREAT_IP_WHITELIST",
        max_length=100_000,
    )
    block: tuple[Network, ...] = setting((), "Addresses and networks that are refused.", max_length=100_000)
    block_on_critical: Switch = setting(
        True, "Ban a client at its first critical request.", env="THREAT_BLOCK_ON_CRITICAL"
    )
    alert_on_high: Switch = setting(
        True, "Tell people of events of level high and above, where alerts say how.", env="THREAT_ALERT_ON_HIGH"
    )
    anomaly_threshold: Share = setting(
        0.5,
        "How odd traffic must be to be reported, 0 to 1: at 0.5 a modified z-score of 3.5, at 0 half, at 1 double; of a"
        " client at 0.5 a score of 0.9, at 0 0.8, at 1 none is enough.",
        unit="share",
        env="THREAT_ANOMALY_THRESHOLD",
    )
    judge_clients: Switch = setting(
        False,
        "Judge each client by how all others behave (extra anomaly); whoever is odd has its limits lowered and is told"
        " of, and is never refused for it.",
    )
    probing: Integer = setting(
        40, "Paths that one client may ask for in vain within a minute.", unit="paths", ge=1, le=100_000
    )
    slow: Integer = setting(
        20,
        "Requests of one client that may be cut off, since head, body or answer went too slowly; one is forgotten each"
        " half minute.",
        unit="requests",
        ge=1,
        le=100_000,
    )
    csrf: CsrfSettings = setting(CsrfSettings(), "Requests that a browser was made to send.")
    logins: LoginSettings = setting(LoginSettings(), "Where people log in, and how often they may fail.")
    floods: FloodSettings = setting(FloodSettings(), "Routes that are asked far more than usual.")
    bans: BanSettings = setting(BanSettings(), "What follows repeated threats.")
    challenge: ChallengeSettings = setting(ChallengeSettings(), "The puzzle that browsers solve.")
    events: EventSettings = setting(EventSettings(), "Where events are kept.")
    alerts: AlertSettings = setting(AlertSettings(), "Who is told of grave events.")
