"""Rate limits in the admin API: who may do what, what is told of a refusal, and what the audit trail keeps."""

import pytest

from seawall.core.access import Role
from seawall.systems.ratelimit.routes import _EXAMPLES

pytestmark = pytest.mark.anyio

PATH = "/api/system/rate-limit"
RULE = {"id": "login", "match": {"paths": ["/login"]}, "windows": [{"limit": 5}]}


async def change(stage, action, role=Role.OPERATOR, **fields):
    return await stage.call("POST", PATH, role, json={"action": action, **fields})


async def entries(stage):
    listed = (await stage.call("GET", "/api/system/audit", Role.OPERATOR)).json()["entries"]
    return [entry for entry in listed if entry["action"].startswith("rate-limit.")]


async def test_viewers_look_and_operators_change(stage):
    assert (await stage.call("GET", PATH)).status_code == 401
    shown = await stage.call("GET", PATH, Role.VIEWER)
    assert shown.status_code == 200
    assert (shown.json()["book_version"], shown.json()["rules"]) == (0, [])
    assert (await change(stage, "set-rule", Role.VIEWER, rule=RULE)).status_code == 403
    assert (await stage.call("GET", PATH, Role.VIEWER)).json()["rules"] == []
    assert (await change(stage, "set-rule", rule=RULE)).json() == {
        "action": "set-rule",
        "target": "login",
        "changed": True,
        "book_version": 1,
    }
    shown = (await stage.call("GET", PATH, Role.VIEWER)).json()
    assert [rule["id"] for rule in shown["rules"]] == ["login"]
    assert shown["rules"][0]["match"] == {"paths": ["/login"]}


async def test_every_example_of_the_description_is_accepted(stage):
    for name, example in _EXAMPLES.items():
        answer = await stage.call("POST", PATH, Role.OPERATOR, json=example["value"])
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["changed"], name


async def test_the_audit_trail_tells_what_was_before_and_after(stage):
    await change(stage, "set-rule", rule=RULE)
    await change(stage, "set-rule", rule=RULE)  # no change, no entry
    await change(stage, "set-rule", rule={**RULE, "mode": "shadow"})
    await change(stage, "block", subject="client:192.0.2.0/24", reason="scraping")
    await change(stage, "remove-rule", id="nope")
    assert (await change(stage, "remove-rule", id="login")).json()["changed"]
    trail = list(reversed(await entries(stage)))
    assert [(entry["action"], entry["target"], entry["outcome"]) for entry in trail] == [
        ("rate-limit.set-rule", "login", "done"),
        ("rate-limit.set-rule", "login", "done"),
        ("rate-limit.block", "client:192.0.2.0/24", "done"),
        ("rate-limit.remove-rule", "login", "done"),
    ]
    assert (trail[0]["before"], trail[0]["after"]["rule"]) == (None, RULE)
    assert trail[1]["after"]["rule"]["mode"] == "shadow"
    assert trail[2]["after"] == {"name": "client:192.0.2.0/24", "reason": "scraping"}
    assert trail[3]["after"] is None


async def test_a_secret_is_neither_answered_nor_kept_in_the_trail(stage):
    answer = await change(stage, "block", subject="api-key:the-secret-itself")
    assert "the-secret-itself" not in answer.text
    assert "the-secret-itself" not in str(await entries(stage))


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"action": "set-rule", "rule": {"id": "a b"}}, "/body/rule/id", "match pattern"),
        ({"action": "set-rule", "rule": {**RULE, "limit": 5}}, "/body/rule/limit", "not permitted"),
        (
            {"action": "set-rule", "rule": {"id": "a", "windows": [{"limit": 5, "min": 9}]}},
            "/body/rule/windows/0/min",
            "9 is above the limit itself, 5",
        ),
        ({"action": "set-rule", "rule": {"id": "a", "windows": [{"limit": -1}]}}, "/body/rule/windows/0/limit", "grea"),
        ({"action": "block", "subject": "x" * 513}, "/body/subject", "at most 512"),
        ({"action": "block", "subject": "user:a", "ttl_ms": 0}, "/body/ttl_ms", "greater than"),
        ({"action": "override", "subject": "user:a", "limit": 0}, "/body/limit", "greater than 0"),
        ({"action": "override", "subject": "user:a"}, "/body/limit", "required"),
        ({"action": "reset", "key": "k" * 1025}, "/body/key", "at most 1024"),
        ({"action": "reset", "key": "k", "version": -1}, "/body/version", "greater than or equal"),
        ({"action": "reset", "key": "k", "other": 1}, "/body/other", "not permitted"),
    ],
)
async def test_what_is_wrong_with_a_body_is_told_with_its_place(stage, body, pointer, detail):
    answer = await stage.call("POST", PATH, Role.OPERATOR, json=body)
    assert answer.status_code == 422
    (finding,) = answer.json()["errors"]
    assert finding["pointer"] == pointer
    assert detail in finding["detail"]


async def test_a_rule_that_can_never_match_is_refused_with_the_one_in_its_way(stage):
    await change(stage, "set-rule", rule={"id": "all", "windows": [{"limit": 5}]})
    answer = await change(stage, "set-rule", rule=RULE)
    assert answer.status_code == 422
    assert 'rule "login": can never match, because rule "all" takes all of its requests' in answer.json()["detail"]
    assert (await change(stage, "set-rule", rule=RULE, before="all")).status_code == 200


async def test_a_version_that_has_moved_on_is_a_conflict(stage):
    await change(stage, "block", subject="user:eve")
    answer = await change(stage, "unblock", subject="user:eve", version=0)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await change(stage, "unblock", subject="user:eve", version=1)).json()["book_version"] == 2


async def test_without_the_store_nothing_is_changed(stage, monkeypatch):
    await change(stage, "block", subject="user:eve")
    token = await stage.token(Role.OPERATOR)
    await stage.store.close()
    async with stage.client(token) as client:
        for body in ({"action": "set-rule", "rule": RULE}, {"action": "unblock", "subject": "user:eve"}):
            assert (await client.post(PATH, json=body)).status_code == 503
    status = stage.plane.controllers["ratelimit"].status()
    assert ([block.subject for block in status.blocks], status.rules) == (["user:eve"], [])


async def test_a_reload_puts_the_files_rules_in_force(stage):
    text = stage.config.read_text()
    stage.config.write_text(f'{text}\n[[ratelimit.rules]]\nid = "all"\nwindows = [{{ limit = 5 }}]\n')
    await stage.plane.reload()
    shown = (await stage.call("GET", PATH, Role.VIEWER)).json()
    assert [(rule["id"], rule["source"]) for rule in shown["rules"]] == [("all", "file")]
