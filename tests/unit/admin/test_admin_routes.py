import json

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from seawall.config.admin import AdminSettings
from seawall.control.systems import SYSTEMS
from seawall.core.access import Role

pytestmark = pytest.mark.anyio

_PATHS = (
    "/health/ready",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/api/system",
    "/api/system/audit",
    "/api/system/tokens",
)


def assert_problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"urn:seawall:problem:{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["detail"]
    assert "Traceback" not in response.text
    return body


async def test_liveness_answers_anybody_and_nothing_else_does(stage):
    assert (await stage.call("GET", "/health/live")).json() == {"status": "ok"}
    for path in (*_PATHS, "/nowhere", "/api/system/load-balancer"):
        assert_problem(await stage.call("GET", path), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/health/ready", Role.VIEWER),
        ("GET", "/metrics", Role.VIEWER),
        ("GET", "/openapi.json", Role.VIEWER),
        ("GET", "/docs", Role.VIEWER),
        ("GET", "/api/system", Role.VIEWER),
        ("GET", "/api/system/load-balancer", Role.VIEWER),
        ("POST", "/api/system/load-balancer", Role.OPERATOR),
        ("GET", "/api/system/audit", Role.OPERATOR),
        ("POST", "/api/system/reload", Role.ADMIN),
        ("GET", "/api/system/tokens", Role.ADMIN),
        ("POST", "/api/system/tokens", Role.ADMIN),
        ("DELETE", "/api/system/tokens/000000000000", Role.ADMIN),
    ],
)
async def test_each_route_needs_its_role_and_takes_every_higher_one(stage, method, path, needed):
    ranks = list(Role)
    for role in ranks:
        response = await stage.call(method, path, role)
        if ranks.index(role) < ranks.index(needed):
            body = assert_problem(response, 403, "forbidden")
            assert needed.value in body["detail"]
        else:
            assert response.status_code not in {401, 403}, response.text


async def test_readiness_tells_findings_and_turns_with_the_workers(stage):
    response = await stage.call("GET", "/health/ready", Role.VIEWER)
    assert response.status_code == 503
    assert response.json()["status"] == "not-ready"
    assert "workers" in response.json()["findings"]
    assert response.headers["retry-after"]
    stage.connect_worker()
    response = await stage.call("GET", "/health/ready", Role.VIEWER)
    assert response.status_code == 200
    assert response.json()["status"] == "ready"


@pytest.mark.parametrize("admin_settings", [AdminSettings(open_health_ready=True, open_metrics=True)])
async def test_open_routes_answer_without_a_token_but_keep_the_findings(stage):
    response = await stage.call("GET", "/health/ready")
    assert response.status_code == 503
    assert response.json() == {"status": "not-ready"}
    assert "findings" in (await stage.call("GET", "/health/ready", Role.VIEWER)).json()
    assert (await stage.call("GET", "/metrics")).status_code == 200
    async with stage.client("nonsense") as client:
        assert_problem(await client.get("/metrics"), 401, "unauthenticated")


async def test_metrics_parse_in_both_formats_and_hold_every_part(stage):
    stage.connect_worker()
    await stage.call("GET", "/api/system")
    text = await stage.call("GET", "/metrics", Role.VIEWER)
    openmetrics = await stage.call(
        "GET", "/metrics", Role.VIEWER, headers={"Accept": "application/openmetrics-text;version=1.0.0"}
    )
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    for families in (parse_text(text.text), parse_openmetrics(openmetrics.text)):
        samples = {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}
        assert samples["seawall_workers", ("state", "connected")] == 1
        assert samples["seawall_admin_authentication_failures_total", ("reason", "missing")] == 1
        assert any(name == "load_balancer_instances" for name, *_ in samples)


async def test_the_system_tells_what_runs(stage):
    stage.connect_worker()
    body = (await stage.call("GET", "/api/system", Role.VIEWER)).json()
    assert body["state"] == "memory://"
    assert body["systems"] == [system.name for system in SYSTEMS]
    assert [worker["slot"] for worker in body["workers"]] == ["worker-0"]
    assert body["ready"] is True


async def test_a_reload_tells_what_changed_and_is_audited(stage):
    stage.config.write_text(stage.config.read_text() + "slow_start_ms = 500\n")
    response = await stage.call("POST", "/api/system/reload", Role.ADMIN)
    assert response.status_code == 200, response.text
    assert response.json() == {"changed": ["balancing.pools.default.slow_start_ms"], "needs_restart": []}
    [entry] = (await stage.call("GET", "/api/system/audit", Role.OPERATOR)).json()["entries"]
    assert entry["action"] == "reload"
    assert entry["actor"] == "the-admin"
    assert entry["address"] == "127.0.0.1"
    assert entry["outcome"] == "done"
    assert entry["after"] == response.json()


async def test_a_reload_of_a_bad_file_is_refused_with_every_problem(stage):
    before = stage.plane.settings
    stage.config.write_text('[gateway]\nworkers = "many"\n[balancing]\nstratgy = "x"\n')
    response = await stage.call("POST", "/api/system/reload", Role.ADMIN)
    body = assert_problem(response, 422, "configuration-invalid")
    assert len(body["errors"]) >= 2
    # They are about the file, not about anything in the request.
    assert {tuple(error) for error in body["errors"]} == {("detail",)}
    assert stage.plane.settings is before
    assert (await stage.call("GET", "/api/system/audit", Role.OPERATOR)).json()["entries"] == []


async def test_registering_an_instance_is_audited_and_a_heartbeat_is_not(stage):
    register = {"action": "register", "url": "http://127.0.0.1:11", "id": "web-3", "ttl_ms": 60_000}
    response = await stage.call("POST", "/api/system/load-balancer", Role.OPERATOR, json=register)
    assert response.status_code == 200, response.text
    heartbeat = {"action": "heartbeat", "id": "web-3"}
    response = await stage.call("POST", "/api/system/load-balancer", Role.OPERATOR, json=heartbeat)
    assert response.status_code == 200, response.text
    [entry] = (await stage.call("GET", "/api/system/audit", Role.OPERATOR)).json()["entries"]
    assert (entry["action"], entry["target"]) == ("load-balancer.register", "default/web-3")
    assert entry["before"] is None
    assert entry["after"]["url"] == "http://127.0.0.1:11"


async def test_an_unknown_instance_is_a_problem_and_leaves_no_entry(stage):
    drain = {"action": "drain", "id": "nobody"}
    response = await stage.call("POST", "/api/system/load-balancer", Role.OPERATOR, json=drain)
    assert_problem(response, 404, "not-found")
    assert (await stage.call("GET", "/api/system/audit", Role.OPERATOR)).json()["entries"] == []


async def test_nothing_changes_while_the_audit_trail_cannot_be_written(stage):
    operator = await stage.token(Role.OPERATOR)
    async with stage.client(operator) as client:
        assert (await client.get("/api/system")).status_code == 200
        await stage.store.close()
        change = {"action": "weight", "id": "http://127.0.0.1:9", "weight": 2}
        response = await client.post("/api/system/load-balancer", json=change)
        assert_problem(response, 503, "audit-unavailable")
        assert response.headers["retry-after"]
        instances = (await client.get("/api/system/load-balancer")).json()["pools"][0]["instances"]
        assert {instance["weight"] for instance in instances} == {1.0}


async def test_tokens_are_made_used_listed_and_revoked(stage):
    admin = await stage.token(Role.ADMIN)
    async with stage.client(admin) as client:
        made = await client.post("/api/system/tokens", json={"name": "grafana", "role": "viewer", "expires_days": 1})
        assert made.status_code == 201, made.text
        token, token_id = made.json()["token"], made.json()["id"]
        async with stage.client(token) as viewer:
            assert (await viewer.get("/api/system")).status_code == 200
        listed = await client.get("/api/system/tokens")
        assert [entry["name"] for entry in listed.json()["tokens"]] == ["the-admin", "grafana"]
        assert "digest" not in listed.text
        assert token not in listed.text
        assert (await client.delete(f"/api/system/tokens/{token_id}")).status_code == 204
        async with stage.client(token) as viewer:
            assert_problem(await viewer.get("/api/system"), 401, "unauthenticated")
        assert_problem(await client.delete(f"/api/system/tokens/{token_id}"), 404, "token-unknown")
        audit = await client.get("/api/system/audit")
    assert [entry["action"] for entry in audit.json()["entries"]] == ["token-revoke", "token-create"]
    assert token.rpartition("_")[2] not in audit.text


async def test_the_last_admin_token_cannot_be_revoked(stage):
    admin = await stage.token(Role.ADMIN)
    async with stage.client(admin) as client:
        [own] = (await client.get("/api/system/tokens")).json()["tokens"]
        assert_problem(await client.delete(f"/api/system/tokens/{own['id']}"), 409, "last-admin-token")
        other = (await client.post("/api/system/tokens", json={"name": "b", "role": "admin"})).json()
        assert (await client.delete(f"/api/system/tokens/{own['id']}")).status_code == 204
    async with stage.client(other["token"]) as client:
        assert (await client.get("/api/system/tokens")).status_code == 200


async def test_an_invalid_body_tells_every_finding(stage):
    response = await stage.call(
        "POST", "/api/system/tokens", Role.ADMIN, json={"name": "a b", "role": "root", "extra": 1, "expires_days": -1}
    )
    body = assert_problem(response, 422, "validation-failed")
    assert {error["pointer"] for error in body["errors"]} == {
        "/body/name",
        "/body/role",
        "/body/extra",
        "/body/expires_days",
    }


@pytest.mark.parametrize(
    ("sent", "pointers"),
    [
        ({"action": "weight", "id": "a", "weight": 0}, {"/body/weight"}),
        ({"action": "weight", "drain/~": 1}, {"/body/id", "/body/weight", "/body/drain~1~0"}),
        ({"action": "register", "url": "http://a", "location": [1, "x"]}, {"/body/location/1"}),
        ({"action": "nonsense"}, {"/body"}),
        ([], {"/body"}),
    ],
)
async def test_the_pointers_into_an_action_lead_through_what_was_sent(stage, sent, pointers):
    response = await stage.call("POST", "/api/system/load-balancer", Role.OPERATOR, json=sent)
    body = assert_problem(response, 422, "validation-failed")
    assert {error["pointer"] for error in body["errors"]} == pointers


async def test_a_list_is_not_called_too_short_for_what_is_wrong_within(stage):
    action = {"action": "set-rule", "rule": {"id": "a", "key": ["colour"], "windows": [{"limit": 1}]}}
    response = await stage.call("POST", "/api/system/rate-limit", Role.OPERATOR, json=action)
    [error] = assert_problem(response, 422, "validation-failed")["errors"]
    assert error["pointer"] == "/body/rule/key/0"
    action["rule"]["key"] = []
    response = await stage.call("POST", "/api/system/rate-limit", Role.OPERATOR, json=action)
    [error] = assert_problem(response, 422, "validation-failed")["errors"]
    assert error["pointer"] == "/body/rule/key"


async def test_a_pointer_to_a_query_parameter(stage):
    response = await stage.call("GET", "/api/system/audit?limit=0", Role.OPERATOR)
    [error] = assert_problem(response, 422, "validation-failed")["errors"]
    assert error["pointer"] == "/query/limit"


async def test_no_words_of_the_validator_are_in_a_finding(stage):
    action = {"action": "register", "url": "nonsense"}
    response = await stage.call("POST", "/api/system/load-balancer", Role.OPERATOR, json=action)
    assert assert_problem(response, 422, "validation-failed")["errors"] == [
        {"pointer": "/body/url", "detail": "http://host:port, https://host:port or unix:/absolute/path"}
    ]


async def test_a_body_that_is_not_json_is_a_bad_request(stage):
    response = await stage.call(
        "POST", "/api/system/tokens", Role.ADMIN, content=b"{", headers={"Content-Type": "application/json"}
    )
    assert_problem(response, 400, "malformed-json")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_of_another_type_is_refused(stage, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    response = await stage.call("POST", "/api/system/tokens", Role.ADMIN, content=b'{"name":"a"}', headers=headers)
    assert_problem(response, 415, "unsupported-media-type")


async def test_an_oversize_body_is_refused_announced_or_streamed(stage):
    async def stream():
        for _ in range(20):
            yield b" " * 65_536

    for content in (b" " * 1_048_577, stream()):
        response = await stage.call(
            "POST", "/api/system/tokens", Role.ADMIN, content=content, headers={"Content-Type": "application/json"}
        )
        assert_problem(response, 413, "body-too-large")
        assert response.headers["connection"] == "close"


async def test_a_body_nested_too_deep_is_refused(stage):
    response = await stage.call(
        "POST",
        "/api/system/tokens",
        Role.ADMIN,
        content=b"[" * 200_000,
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code in {400, 422}


async def test_an_unknown_path_and_a_wrong_method_are_problems(stage):
    assert_problem(await stage.call("GET", "/nowhere", Role.VIEWER), 404, "not-found")
    for path, allowed in (
        ("/api/system/tokens", "GET, HEAD, POST"),
        ("/api/system/tokens/000000000000", "DELETE"),
        ("/api/system/load-balancer", "GET, HEAD, POST"),
        ("/api/system/reload", "POST"),
    ):
        response = await stage.call("PATCH", path, Role.ADMIN)
        assert_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == allowed


async def test_a_head_is_answered_as_its_get_without_the_body(stage):
    response = await stage.call("HEAD", "/api/system", Role.VIEWER)
    assert response.status_code == 200
    assert response.content == b""
    assert int(response.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8081", True),
        ("localhost", True),
        ("LOCALHOST:8081", True),
        ("[::1]:8081", True),
        ("192.0.2.1", True),
        ("seawall:8081", True),
        ("seawall-admin.prod.svc", True),
        ("seawall.prod.svc.cluster.local:8081", True),
        ("local", True),
        ("evil.example.", False),
        (".", False),
        ("a b", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8081", False),
        ("", False),
    ],
)
async def test_only_names_of_this_machine_may_be_asked_for(stage, host, allowed):
    response = await stage.call("GET", "/health/live", headers={"Host": host})
    if allowed:
        assert response.status_code == 200
    else:
        assert_problem(response, 421, "host-refused")


async def test_two_authorization_fields_are_refused(stage):
    token = await stage.token(Role.VIEWER)
    async with stage.client() as client:
        fields = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
        assert_problem(await client.get("/api/system", headers=fields), 400, "bad-request")


async def test_a_failure_inside_is_a_problem_with_a_trace_in_the_log_only(stage, caplog):
    async def broken():
        raise RuntimeError("the pool is on fire")

    stage.app.add_api_route("/broken", broken)
    response = await stage.call("GET", "/broken", Role.VIEWER)
    body = assert_problem(response, 500, "internal-error")
    assert "fire" not in response.text
    assert "fire" in caplog.text
    assert body["request_id"] in caplog.text


async def test_answers_carry_no_permission_for_other_origins(stage):
    response = await stage.call("GET", "/health/live", headers={"Origin": "http://evil.example"})
    assert not any(name.startswith("access-control") for name in response.headers)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_the_reference_page_needs_no_other_site(stage):
    response = await stage.call("GET", "/docs", Role.VIEWER)
    assert "/api/system/load-balancer" in response.text
    assert "http://" not in response.text.replace("http://10.0.0.7", "").replace("http://host", "")
    assert "<script" not in response.text


async def test_the_audit_can_be_paged_and_narrowed(stage):
    admin = await stage.token(Role.ADMIN)
    async with stage.client(admin) as client:
        for number in range(3):
            await client.post("/api/system/tokens", json={"name": f"t{number}", "role": "viewer"})
        first = (await client.get("/api/system/audit", params={"limit": 2})).json()
        rest = (await client.get("/api/system/audit", params={"limit": 2, "cursor": first["cursor"]})).json()
        assert [entry["after"]["name"] for entry in first["entries"] + rest["entries"]] == ["t2", "t1", "t0"]
        assert rest["cursor"] is None
        at = first["entries"][0]["at"]
        newest = (await client.get("/api/system/audit", params={"since": at})).json()["entries"]
        assert [entry["after"]["name"] for entry in newest] == ["t2"]
        for params in ({"actor": "nobody"}, {"action": "reload"}, {"until": "2000-01-01T00:00:00Z"}):
            assert (await client.get("/api/system/audit", params=params)).json()["entries"] == []
        for params in ({"limit": 0}, {"limit": 1001}, {"cursor": "x"}, {"since": "yesterday"}):
            assert_problem(await client.get("/api/system/audit", params=params), 422, "validation-failed")


async def test_the_description_is_complete(stage):
    schema = (await stage.call("GET", "/openapi.json", Role.VIEWER)).json()
    text = json.dumps(schema)
    assert "HTTPValidationError" not in text
    ids = []
    for path, item in schema["paths"].items():
        for operation in item.values():
            ids.append(operation["operationId"])
            assert operation["tags"]
            assert operation["summary"]
            assert path == "/health/live" or operation["security"]
            for code, response in operation["responses"].items():
                assert response["description"]
                if code.startswith(("4", "5")):
                    assert "application/problem+json" in response["content"], (path, code)
    assert len(ids) == len(set(ids))


async def test_a_store_that_is_away_is_a_problem_told_in_the_log(stage, caplog):
    operator = await stage.token(Role.OPERATOR)
    async with stage.client(operator) as client:
        assert (await client.get("/api/system/audit")).status_code == 200
        await stage.store.close()
        response = await client.get("/api/system/audit")
    body = assert_problem(response, 503, "state-unavailable")
    assert response.headers["retry-after"]
    assert body["request_id"] in caplog.text
