"""The `[admin]` table: where the admin API listens and who may ask it."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from seawall.config.gateway import Listen
from seawall.config.section import Section, Switch, setting

__all__ = ["AdminSettings"]


def _check_token(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value()
    if len(token) > 4096 or not all("!" <= character <= "~" for character in token):
        raise ValueError("up to 4096 printable ASCII characters without spaces, as a bearer token must be")
    return secret


class AdminSettings(Section):
    """Where the admin API listens and who may ask it."""

    enabled: Switch = setting(True, "Run the admin API.")
    listen: Listen = setting(
        "127.0.0.1:8081", "Where the admin API answers: host:port, [v6]:port or unix:/path. Port 0 takes a free one."
    )
    token: Annotated[SecretStr, AfterValidator(_check_token)] = setting(
        SecretStr(""),
        "Bearer token with the role admin; empty prints a one-time token at the first start. Keep it out of the file.",
        env="SEAWALL_ADMIN_TOKEN",
    )
    open_health_ready: Switch = setting(False, "Answer GET /health/ready without a token.")
    open_metrics: Switch = setting(False, "Answer GET /metrics without a token.")
