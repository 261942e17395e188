"""Where threat events are kept and told, as the configuration says; built in the control process."""

import random
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from seawall.adapters.alerts import AlertChannel, AlertSender, EmailChannel, SlackChannel, WebhookChannel
from seawall.adapters.anomaly import HalfSpaceScores
from seawall.adapters.events_sqlite import SQLiteEvents
from seawall.adapters.geoip import open_countries
from seawall.adapters.pattern_cache import PatternCache
from seawall.core.clock import Clock
from seawall.state.open import redact_url
from seawall.systems.threats.clients import FEATURES
from seawall.systems.threats.events import EventStore, ThreatEvent, ecs_of
from seawall.systems.threats.recorder import EventLog
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["ThreatTools"]


class ThreatTools:
    """Builds what the threat controller writes to, and what it proves exclusions with.

    Args:
        state_url: of the state store; with Redis, events are kept there, with `memory://` in memory.
        directory: for the file of events where none is named.
        patterns: makes the matcher of the detectors' triggers.
        geoip_database: a MaxMind database to tell countries by where the settings name none; empty for none.
    """

    def __init__(self, state_url: str, directory: Path, patterns: PatternCache, *, geoip_database: str = "") -> None:
        self.patterns = patterns
        self._state_url = state_url
        self._directory = directory
        self._geoip_database = geoip_database

    def events(self, settings: ThreatDetectionSettings) -> EventStore:
        """Return the store of events; it is opened at its first use."""
        file = settings.events.file
        if not file and self._state_url.startswith(("redis:", "rediss:")):
            from seawall.adapters.events_redis import RedisEvents  # noqa: PLC0415 - an extra

            return RedisEvents.open(self._state_url, shown_url=redact_url(self._state_url))
        if not file and self._state_url.startswith("memory:"):
            return SQLiteEvents(None)
        return SQLiteEvents(Path(file).expanduser() if file else self._directory / "events.db")

    def alerts(self, settings: ThreatDetectionSettings, clock: Clock, rng: random.Random) -> AlertSender | None:
        """Return what sends alerts; None when nobody is to be told.

        Raises:
            ConfigurationError: a package is missing, or a secret is too short.
        """
        wanted = settings.alerts
        channels: list[AlertChannel] = []
        if wanted.webhook.url:
            secret = wanted.webhook.secret.get_secret_value().encode()
            channels.append(WebhookChannel(wanted.webhook.url, secret, clock))
        if slack := wanted.slack.get_secret_value():
            channels.append(SlackChannel(slack))
        mail = wanted.email
        if mail.host:
            channels.append(
                EmailChannel(
                    mail.host,
                    mail.port,
                    sender=mail.sender,
                    recipients=mail.recipients,
                    username=mail.username,
                    password=mail.password.get_secret_value(),
                    security=mail.security,
                )
            )
        return AlertSender(channels, rng) if channels else None

    def countries(self, settings: ThreatDetectionSettings) -> Callable[[str], str] | None:
        """Return what tells the country of an address; None where there is no database.

        Raises:
            ConfigurationError: the database cannot be read, or a package is missing.
        """
        path = settings.events.geoip_database or self._geoip_database
        return open_countries(str(Path(path).expanduser())) if path else None

    def client_scores(self, settings: ThreatDetectionSettings, rng: random.Random) -> HalfSpaceScores | None:
        """Return a model of how clients behave; None where they are not judged.

        Raises:
            ConfigurationError: a package is missing.
        """
        return HalfSpaceScores(FEATURES, rng.randrange(2**31)) if settings.judge_clients else None

    def log(self, settings: ThreatDetectionSettings) -> EventLog | None:
        """Return what appends events as lines of JSON to the configured file; None when there is none."""
        name = settings.events.log_file
        if not name:
            return None
        path, version = Path(name).expanduser(), metadata.version("seawall")
        encoder = msgspec.json.Encoder()

        def write(events: Sequence[ThreatEvent]) -> None:
            # Opened each time, so that a file that was moved away for rotation is followed by a new one.
            with path.open("ab") as file:
                file.write(b"".join(encoder.encode(ecs_of(event, version)) + b"\n" for event in events))

        return write
