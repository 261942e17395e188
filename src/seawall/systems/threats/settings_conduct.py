"""The parts of `[threats]` about who asks and how they behave: forged requests, log-ins, bans, floods, alerts."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from seawall.config.http import check_method, check_path_prefix
from seawall.config.section import (
    DAY_MS,
    Finding,
    Integer,
    Milliseconds,
    Number,
    Section,
    Switch,
    refusal,
    setting,
)

__all__ = [
    "AlertSettings",
    "BanSettings",
    "BypassSettings",
    "ChallengeSettings",
    "CsrfSettings",
    "EmailSettings",
    "EventSettings",
    "FloodSettings",
    "LoginSettings",
    "RouteModeSettings",
    "WebhookSettings",
]

ModeSetting = Literal["off", "log", "block"]
Path = Annotated[str, AfterValidator(check_path_prefix)]
Method = Annotated[str, AfterValidator(check_method)]
Origin = Annotated[str, StringConstraints(pattern=r"^(?i:[a-z][a-z0-9+.-]*)://[^/?#@\s]{1,255}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Url = Annotated[
    str, StringConstraints(pattern=r"^(https://\S{1,2000}|http://(127\.0\.0\.1|localhost|\[::1\])[:/]\S{0,2000})?$")
]
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s\r\n]{1,64}@[^@\s\r\n]{1,255}$")]
Points = Annotated[Number, Field(gt=0, le=1e6)]


class RouteModeSettings(Section):
    """The mode of the requests below a path."""

    path: Path = Field(description="Prefix of the path, on whole segments; the longest that fits counts.")
    mode: ModeSetting = Field(description="block acts, log finds and reports but changes nothing, off does not look.")


class BypassSettings(Section):
    """Requests that browsers may send on behalf of other sites."""

    path: Path = Field(description="A path, or everything below it when it ends in /.")
    methods: tuple[Method, ...] = setting((), "Methods; empty for any.", max_length=20)


class CsrfSettings(Section):
    """The check for requests that a browser was made to send, by what browsers say of them."""

    mode: ModeSetting = setting("block", "block refuses, log only reports, off does not look.")
    trusted_origins: tuple[Origin, ...] = setting(
        (), "Other origins that may send such requests, such as https://app.example.com.", max_length=1000
    )
    bypass: tuple[BypassSettings, ...] = setting((), "Requests that are not checked.", max_length=1000)


class LoginSettings(Section):
    """Where people log in, and how many failures are borne."""

    paths: tuple[Path, ...] = setting((), "Paths at which people log in; empty when there are none.", max_length=100)
    methods: tuple[Method, ...] = setting(("POST",), "Methods that try a log-in.", min_length=1, max_length=10)
    failures: tuple[Integer, ...] = setting((401, 403), "Statuses that say a log-in failed.", max_length=20)
    account_fields: tuple[Word, ...] = setting(
        ("username", "email", "login", "user", "account"),
        "Form or JSON fields that hold the account's name; the first that is there counts.",
        max_length=20,
    )
    burst: Points = setting(5.0, "Failures borne at once, of an address or on an account.", unit="failures")
    burst_leak_ms: Milliseconds = setting(10_000, "Time in which one of them is forgotten.", unit="ms")
    slow: Points = setting(10.0, "Failures borne over a longer time.", unit="failures")
    slow_leak_ms: Milliseconds = setting(60_000, "Time in which one of them is forgotten.", unit="ms")
    accounts: Integer = setting(10, "Accounts that one address may fail on.", unit="accounts", ge=1, le=10**6)
    addresses: Integer = setting(20, "Addresses from which one account may fail.", unit="addresses", ge=1, le=10**6)
    spread: Integer = setting(30, "Accounts that one network may fail on.", unit="accounts", ge=1, le=10**6)
    period_ms: Milliseconds = setting(600_000, "Time over which accounts and addresses are counted.", unit="ms")


class BanSettings(Section):
    """What follows for a client or an account that is reported again and again; every step ends by itself."""

    half_life_ms: Milliseconds = setting(120_000, "Time in which the weight of reports halves.", unit="ms")
    throttle_at: Points = setting(5.0, "Weight at which its rate limits fall.", unit="points")
    challenge_at: Points = setting(15.0, "Weight at which its browser has to solve a puzzle.", unit="points")
    block_at: Points = setting(30.0, "Weight at which it is refused for `hold_ms`.", unit="points")
    ban_at: Points = setting(60.0, "Weight at which it is banned.", unit="points")
    hold_ms: Milliseconds = setting(60_000, "Length of a throttle, a challenge or a block.", unit="ms")
    base_ms: Milliseconds = setting(600_000, "Length of a first ban; each further one lasts twice as long.", unit="ms")
    longest_ms: Milliseconds = setting(DAY_MS, "Longest ban.", unit="ms")

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        marks = ("throttle_at", "challenge_at", "block_at", "ban_at")
        findings = [
            Finding((above,), f"{getattr(self, above):g} is below {below}, {getattr(self, below):g}")
            for below, above in pairwise(marks)
            if getattr(self, above) < getattr(self, below)
        ]
        if self.longest_ms < self.base_ms:
            findings.append(Finding(("longest_ms",), f"{self.longest_ms:g} is below base_ms, {self.base_ms:g}"))
        if findings:
            raise refusal(findings)
        return self


class FloodSettings(Section):
    """When a route is under a flood, and what clients keep then."""

    enabled: Switch = setting(True, "Look for floods.")
    floor: Points = setting(200.0, "Requests per second of a route below which there is none.", unit="requests/s")
    headroom: Annotated[Number, Field(ge=1, le=1000)] = setting(
        2.0, "Multiple of its own usual rate that a known client keeps.", unit="multiple"
    )
    stranger: Points = setting(
        5.0, "Requests per second that any other client keeps at most; less where there are many.", unit="requests/s"
    )
    source: Points = setting(
        200.0,
        "Requests per second of one browser or program that are borne after a start, until it is known what is usual.",
        unit="requests/s",
    )


class ChallengeSettings(Section):
    """The puzzle for browsers."""

    enabled: Switch = setting(True, "Challenge before refusing, where the response says so.")
    bits: Integer = setting(
        16,
        "Zero bits of a solution; each one more doubles the work, 16 takes some tenths of a second.",
        unit="bits",
        ge=1,
        le=26,
    )


class EventSettings(Section):
    """Where events are kept, and for how long."""

    file: str = setting(
        "",
        "SQLite file; empty for events.db in the state directory. With a state store in Redis they are kept there.",
        max_length=4096,
    )
    max_age_ms: Annotated[Number, Field(gt=0, le=3650 * DAY_MS)] = setting(
        30 * DAY_MS, "Age at which an event is dropped.", unit="ms"
    )
    max_events: Integer = setting(100_000, "Events that are kept at most.", unit="events", ge=100, le=10**8)
    geoip_database: str = setting(
        "",
        "Path of a MaxMind database to tell countries by; empty for that of the first pool that has one.",
        max_length=4096,
    )
    log_file: str = setting(
        "", "File of JSON lines for a SIEM, in the Elastic Common Schema; empty for none.", max_length=4096
    )


class WebhookSettings(Section):
    """A webhook that is signed as the Standard Webhooks specification says."""

    url: Url = setting("", "https, or http to this machine; empty for none.")
    secret: SecretStr = setting(SecretStr(""), "At least 24 characters.")

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        if self.url and len(self.secret.get_secret_value()) < 24:
            raise refusal([Finding(("secret",), "a webhook needs a secret of at least 24 characters")])
        return self


class EmailSettings(Section):
    """Alerts by e-mail."""

    host: str = setting("", "Mail server; empty for none.", max_length=255)
    port: Integer = setting(587, "Its port.", unit="port", ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = setting("starttls", "How the connection is kept private.")
    sender: Annotated[str, StringConstraints(pattern=r"^([^@\s]{1,64}@[^@\s]{1,255})?$")] = setting("", "Address.")
    recipients: tuple[Address, ...] = setting((), "Addresses.", max_length=100)
    username: str = setting("", "Empty to send without logging in.", max_length=255)
    password: SecretStr = setting(SecretStr(""), "Of the user name.")

    @model_validator(mode="after")
    def _refuse_impossible(self) -> Self:
        findings = []
        if self.host and not self.sender:
            findings.append(Finding(("sender",), "mail needs a sender"))
        if self.host and not self.recipients:
            findings.append(Finding(("recipients",), "mail needs somebody to go to"))
        if self.username and self.security == "none":
            findings.append(Finding(("security",), "a password would go over the network in the clear; use starttls"))
        if findings:
            raise refusal(findings)
        return self


class AlertSettings(Section):
    """Who is told of grave events."""

    quiet_ms: Milliseconds = setting(300_000, "Time in which a kind of event is told once.", unit="ms")
    per_minute: Points = setting(10.0, "Alerts at most.", unit="alerts/min")
    webhook: WebhookSettings = setting(WebhookSettings(), "A signed webhook.")
    slack: SecretStr = setting(SecretStr(""), "URL of an incoming webhook of Slack; it is a secret. Empty for none.")
    email: EmailSettings = setting(EmailSettings(), "E-mail.")
