"""The `[identity]` table: what it refuses, and what it warns of."""

import pytest

from seawall.config.loader import load
from seawall.control.tree import Settings
from seawall.core.errors import ConfigurationError

JWT = {"enabled": True, "issuer": "https://i.example/", "audience": ["me"], "jwks_url": "https://i.example/keys"}


def loaded(tmp_path, identity, **tree):
    lines = []

    def table(name, values):
        lines.append(f"[{name}]")
        later = []
        for key, value in values.items():
            if isinstance(value, dict):
                later.append((f"{name}.{key}", value))
            else:
                lines.append(f"{key} = {str(value).lower() if isinstance(value, bool) else _toml(value)}")
        for below in later:
            table(*below)

    for name, values in {"identity": identity, **tree}.items():
        table(name, values)
    file = tmp_path / "seawall.toml"
    file.write_text("\n".join(lines))
    return load(Settings, file=file, environ={}, overrides={})


def _toml(value):
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_nothing_is_looked_at_by_default(tmp_path):
    identity = loaded(tmp_path, {}).settings.identity
    assert not (identity.required)
    assert not (identity.api_keys.enabled)
    assert not (identity.jwt.enabled)
    assert not identity.trusted_headers.enabled
    assert identity.jwt.algorithms == ("RS256", "ES256")
    assert identity.forward_credentials


def test_a_secret_file_means_hs256(tmp_path):
    jwt = {key: value for key, value in JWT.items() if key != "jwks_url"} | {"secret_file": "/run/secret"}
    assert loaded(tmp_path, {"jwt": jwt}).settings.identity.jwt.algorithms == ("HS256",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": ""}, "identity.jwt.issuer"),
        ({"audience": []}, "identity.jwt.audience"),
        ({"jwks_url": ""}, "give jwks_url, jwks_file or secret_file"),
        ({"jwks_file": "/a"}, "keep one"),
        ({"jwks_url": "", "secret_file": "/a", "algorithms": ["RS256"]}, "only HS256, HS384 and HS512"),
        ({"algorithms": ["RS256", "HS256"]}, "anybody could sign"),
        ({"algorithms": ["none"]}, "identity.jwt.algorithms"),
        ({"algorithms": []}, "identity.jwt.algorithms"),
        ({"jwks_url": "http://issuer.example/keys"}, "must be https"),
        ({"jwks_url": "http://127.0.0.1.example/keys"}, "must be https"),
        ({"jwks_url": "HTTP://issuer.example/keys"}, "must be https"),
        ({"jwks_url": "file:///etc/passwd"}, "https://host/path"),
        ({"jwks_url": "https://user:pw@i.example/keys"}, "https://host/path"),
        ({"jwks_url": "https://i.example:99999/keys"}, "https://host/path"),
        ({"jwks_url": "https://i.example/a b"}, "https://host/path"),
        ({"leeway_ms": 300_001}, "identity.jwt.leeway_ms"),
        ({"jwks_timeout_ms": 60_001}, "identity.jwt.jwks_timeout_ms"),
        ({"cookie": "a b"}, "identity.jwt.cookie"),
        ({"jwks_min_interval_ms": 1}, "identity.jwt.jwks_min_interval_ms"),
        ({"user_claim": "x" * 257}, "identity.jwt.user_claim"),
    ],
)
def test_tokens_that_could_not_be_trusted_are_refused(tmp_path, changes, said):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, {"jwt": JWT | changes})
    assert said in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_http_is_for_this_machine(tmp_path, host):
    assert loaded(tmp_path, {"jwt": JWT | {"jwks_url": f"http://{host}/keys"}}).settings.identity.jwt.enabled


def test_http_to_others_is_warned_of(tmp_path):
    found = loaded(tmp_path, {"jwt": JWT | {"jwks_url": "http://i.example/keys", "jwks_insecure": True}})
    assert any("identity.jwt.jwks_insecure" in warning for warning in found.warnings)


def test_any_audience_is_warned_of(tmp_path):
    found = loaded(tmp_path, {"jwt": JWT | {"audience": ["*"]}})
    assert any("identity.jwt.audience" in warning for warning in found.warnings)
    assert not any("identity" in warning for warning in loaded(tmp_path, {"jwt": JWT}).warnings)


def test_believing_proxies_needs_proxies(tmp_path):
    spoken = {"trusted_headers": {"user": "X-User"}}
    assert any("identity.trusted_headers" in warning for warning in loaded(tmp_path, spoken).warnings)
    found = loaded(tmp_path, spoken, gateway={"trusted_proxies": ["10.0.0.1"]})
    assert not any("identity" in warning for warning in found.warnings)
    assert found.settings.identity.trusted_headers.user == "x-user"


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ({"required": True}, "nobody could be let in"),
        ({"api_keys": {"header": "authorization"}}, "means something else"),
        ({"api_keys": {"header": "Cookie"}}, "means something else"),
        ({"api_keys": {"header": "a b"}}, "identity.api_keys.header"),
        ({"api_keys": {"header": ""}}, "identity.api_keys.header"),
        ({"trusted_headers": {"user": "X-Forwarded-For"}}, "means something else"),
        ({"trusted_headers": {"user": "x-who", "role": "X-Who"}}, "is taken by"),
        ({"api_keys": {"enabled": True}, "trusted_headers": {"role": "X-Api-Key"}}, "is taken by"),
    ],
)
def test_impossible_tables_are_refused(tmp_path, identity, said):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, identity)
    assert said in str(caught.value)
