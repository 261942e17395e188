import re
from pathlib import Path

import pytest

from seawall.admin import audit, authentication, guard, protocol, server
from seawall.admin.instruments import ADMIN_INSTRUMENTS
from seawall.config.admin import MIN_TOKEN
from seawall.control.instruments import CONTROL_INSTRUMENTS
from seawall.control.systems import SYSTEMS

pytestmark = pytest.mark.anyio

_DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_lists_every_metric_with_its_kind_and_labels():
    documented = {}
    for line in (_DOCS / "reference" / "metrics.md").read_text().splitlines():
        if line.startswith("| `"):
            name, kind, labels, _ = (cell.strip() for cell in line.strip("|").split("|"))
            documented[name.strip("`")] = (kind, tuple(re.findall(r"`([^`]+)`", labels)))
    declared = [*ADMIN_INSTRUMENTS, *CONTROL_INSTRUMENTS, *(i for system in SYSTEMS for i in system.instruments)]
    assert documented == {instrument.name: (instrument.kind.value, instrument.labels) for instrument in declared}


async def test_the_reference_lists_every_route_with_its_role(stage):
    schema = stage.app.openapi()
    documented = {
        (method, path.replace("{id}", "{token_id}")): role.split(",")[0].strip()
        for method, path, role in re.findall(
            r"^\| `([A-Z]+) ([^`]+)` \| ([^|]+) \|", (_DOCS / "reference" / "admin-api.md").read_text(), re.MULTILINE
        )
    }
    served = {
        (method.upper(), path): next((name for scheme in operation.get("security", []) for name in scheme), "none")
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    }
    assert documented == served


def test_the_limits_that_the_pages_name_are_those_of_the_code():
    reference = (_DOCS / "reference" / "admin-api.md").read_text()
    tokens = (_DOCS / "how-to" / "tokens.md").read_text()
    assert protocol.MAX_HEAD_BYTES == 32 * 1024
    assert f"Request heads of 32 KiB within {protocol.HEAD_TIMEOUT:g} s" in reference
    assert guard.MAX_BODY_BYTES == 1024 * 1024
    assert f"bodies of 1 MiB within {guard.BODY_TIMEOUT:g} s" in reference
    assert f"{guard.MAX_IN_FLIGHT} requests at once" in reference
    assert f"{server.MAX_CONNECTIONS} connections" in reference
    assert f"idle connections for {server.KEEPALIVE} s" in reference
    assert f"kept for {audit.MAX_AGE / 86_400:g} days" in reference
    assert f"at least {MIN_TOKEN} characters" in tokens
    assert f"working for {authentication.STALE_LIMIT / 60:g} minutes" in tokens
    assert authentication.REFRESH < 5


def test_the_reference_lists_every_code_that_the_admin_api_has_of_its_own():
    reference = (_DOCS / "reference" / "admin-api.md").read_text()
    source = _DOCS.parent / "src" / "seawall"
    text = "".join(path.read_text() for path in [*(source / "admin").rglob("*.py"), source / "core" / "errors.py"])
    codes = set(re.findall(r"\bcode ?= ?\"([a-z-]+)\"", text)) - {"seawall"}
    assert len(codes) >= 15
    assert {code for code in codes if f"`{code}`" not in reference} == set()
