"""Rules whose condition no request of the gateway can meet are warned of when the configuration is loaded."""

import pytest

from seawall.config.loader import load
from seawall.control.tree import Settings

POOL = """
[balancing.pools.web]
instances = ["http://127.0.0.1:9000"]
"""
RULE = """
[[ratelimit.rules]]
id = "a"
{rule}
windows = [{{ limit = 5 }}]
"""


@pytest.fixture
def warnings(tmp_path):
    def of(text):
        file = tmp_path / "seawall.toml"
        file.write_text(POOL + text)
        return [line for line in load(Settings, file=file, environ={}, overrides={}).warnings if "ratelimit" in line]

    return of


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('match.routes = ["serach"]', 'match.routes: the gateway has no route "serach"; routes: route-1'),
        ('match.users = ["alice"]', "match.users: nobody has a user here"),
        ('match.tenants = ["acme"]', "match.tenants: nobody has a tenant here"),
        ('match.roles = ["admin"]', "match.roles: nobody has a role here"),
        ('key = ["tenant"]', 'key: nothing tells "tenant" here, so callers count by their address'),
        ('key = ["api-key", "route"]', 'key: nothing tells "api-key" here'),
    ],
)
def test_what_no_request_has_is_warned_of(warnings, rule, said):
    (line,) = warnings(RULE.format(rule=rule))
    assert f"ratelimit.rules[0].{said}" in line
    assert "seawall.toml:" in line


@pytest.mark.parametrize(
    "rule",
    [
        'match.routes = ["route-1"]',
        'match.roles = ["anonymous"]',
        'match.paths = ["/a"]',
        'key = ["client/24", "header:x-team", "role"]',
    ],
)
def test_what_requests_may_have_is_not(warnings, rule):
    assert warnings(RULE.format(rule=rule)) == []


def test_what_credentials_tell_is_known(warnings):
    rule = RULE.format(rule='match = { users = ["alice"], tenants = ["acme"], roles = ["admin"] }\nkey = ["api-key"]')
    assert len(warnings(rule)) == 4
    assert warnings(rule + "[identity.api_keys]\nenabled = true") == []


def test_a_token_tells_what_its_claims_are_taken_for(warnings):
    rule = RULE.format(rule='match.users = ["alice"]\nkey = ["tenant"]')
    token = '[identity.jwt]\nenabled = true\nissuer = "i"\naudience = ["a"]\njwks_file = "/keys"\n'
    (line,) = warnings(rule + token)
    assert 'nothing tells "tenant"' in line
    assert warnings(rule + token + 'tenant_claim = "org"') == []


def test_a_priority_for_a_route_that_is_none_is_warned_of(warnings):
    route = '[[balancing.routes]]\nname = "api"\npool = "web"\n'
    tier = '[[ratelimit.priorities]]\ntier = 0\nmatch.routes = ["{}"]\n'
    assert warnings(route + tier.format("api")) == []
    (line,) = warnings(route + tier.format("route-1"))
    assert 'ratelimit.priorities[0].match.routes: the gateway has no route "route-1"; routes: api' in line
