"""The `[admin]` table: where the admin API listens and who may ask it."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from seawall.config.gateway import Listen
from seawall.config.section import Section, Switch, setting

__all__ = ["MIN_TOKEN", "AdminSettings"]

MIN_TOKEN, _MAX_TOKEN = 16, 4096
"""Characters of an admin token; what is shorter could be guessed."""


def _check_token(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value()
    if token and not (MIN_TOKEN <= len(token) <= _MAX_TOKEN and all("!" <= character <= "~" for character in token)):
        raise ValueError(
            f"{MIN_TOKEN} to {_MAX_TOKEN} printable ASCII characters without spaces, for example from: "
            "openssl rand -hex 32"
        )
    return secret


class AdminSettings(Section):
    """Where the admin API listens and who may ask it."""

    enabled: Switch = setting(True, "Run the admin API.")
    listen: Listen = setting(
        "127.0.0.1:8081", "Where the admin API answers: host:port, [v6]:port or unix:/path. Port 0 takes a free one."
    )
    token: Annotated[SecretStr, AfterValidator(_check_token)] = setting(
        SecretStr(""),
        f"Bearer token with the role admin, {MIN_TOKEN} characters at least; empty prints a one-time token at the "
        "first start. Keep it out of the file.",
        env="SEAWALL_ADMIN_TOKEN",
    )
    open_health_ready: Switch = setting(False, "Answer GET /health/ready without a token.")
    open_metrics: Switch = setting(False, "Answer GET /metrics without a token.")
