"""Honest requests by kind: each maker returns the method, the target, the fields and the body of one."""

# ruff: noqa: E501 - tables of requests as clients send them.

import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlencode

from legitimate_text import (
    TEXTS,
    address,
    code,
    host,
    json_text,
    log,
    markdown,
    markup,
    maths,
    name,
    path,
    person,
    prose,
    query_text,
    row,
    sentence,
    shell,
    sql,
    ticket,
    token,
    uid,
)
from legitimate_web import beacon, browser, jwt, program, tracked

from seawall.core.request import Header, Request

__all__ = ["KINDS"]

Made = tuple[Request, bytes]
_JSON: Final = "application/json"
_SAFE: Final = ("", "[]", "[]$,:", "()*!',")
_FORM: Final = "application/x-www-form-urlencoded; charset=UTF-8"


def _request(method: str, target: str, headers: list[Header], body: bytes | str = b"", media: str = "") -> Made:
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
    fields = [*headers, (b"content-type", media.encode())] if media else list(headers)
    if raw:
        fields += [(b"content-length", str(len(raw)).encode()), (b"origin", b"https://www.example.com")]
    return Request(
        method,
        quote(target, safe="/?&=%+;,:@!$'()*~|^{}[]\"<>`\\#").replace(" ", "%20").encode()
        if not target.isascii()
        else target.replace(" ", "%20").encode(),
        fields,
    ), raw


def _post(draw: random.Random, target: str, value: object, media: str = _JSON) -> Made:
    separators = draw.choice((None, (",", ":")))
    body = (
        value
        if isinstance(value, str | bytes)
        else json.dumps(value, ensure_ascii=draw.random() < 0.3, separators=separators)
    )
    return _request("POST", target, browser(draw, fetch="empty"), body, media)


def _any(draw: random.Random) -> str:
    return draw.choice(tuple(TEXTS.values()))(draw)


def _page(draw: random.Random) -> Made:
    slug = draw.choice(("/", f"/{name(draw)}", f"/{draw.randint(2000, 2024)}/06/love-or-money-and-{name(draw)}.html", f"/wiki/{quote(person(draw))}", f"/p/{name(draw)}--{draw.randint(1, 999)}", f"/static/js/{name(draw)}.{token(draw, 4, 4)}.chunk.js", f"/a/b,c;jsessionid={token(draw)}", f"/@{name(draw)}/{name(draw)}-{token(draw, 4, 4)}", f"/_next/data/{token(draw)}/{name(draw)}.json", f"/dp/{token(draw, 6, 6)}/ref=sr_1_1", "/maps/@48.85,2.35,12z/data=!3m1!4b1!4m5!3m4!1s0x47e66e2964e34e2d:0x8ddca9ee380ef7e0!8m2", f"/cdn-cgi/image/width=640,quality=75,format=auto/{address(draw)}", f"/t/p/w300/{token(draw)}.jpg", f"/Article({draw.randint(1, 99)})", f"/caf%C3%A9/{quote(sentence(draw), safe='')}", f"/~{name(draw)}/", f"/product/{quote(name(draw))}.aspx", "/.well-known/security.txt", f"/npm/@scope/{name(draw)}@1.2.3/dist/+esm", f"/wp-content/uploads/2024/{name(draw)}.png", f"/index.php/{name(draw)}", f"/filter/price_10-20/brand_{name(draw)}+{name(draw)}/"))  # fmt: skip
    return _request(
        "GET",
        slug
        + draw.choice(("", f"?{tracked(draw)}", f"?v={token(draw)}", "?a[]=1&a[]=2", "?_rsc=1ab2c", f"?{name(draw)}")),
        browser(draw, fetch=draw.choice(("document", "image", "script"))),
    )


def _beacon(draw: random.Random) -> Made:
    return _request(draw.choice(("GET", "POST")), beacon(draw), browser(draw, fetch="image"))


def _search(draw: random.Random) -> Made:
    text = (
        draw.choice((sentence, person, _any, maths, query_text, shell, sql))(draw)[:200]
        if draw.random() < 0.4
        else draw.choice((sentence, person))(draw)
    )
    target = (
        f"/search?{urlencode({draw.choice(('q', 'query', 's', 'keyword', 'term', 'k')): text, 'page': 1, 'hl': 'de'})}"
    )
    return _request(
        "GET",
        draw.choice(
            (
                target,
                target.replace("+", "%20"),
                f"/complete/search?q={quote(text[: draw.randint(1, len(text))])}&cp=3&client=gws-wiz&xssi=t&gs_pcrt=2",
            )
        ),
        browser(draw, fetch="document"),
    )


def _filters(draw: random.Random) -> Made:
    pairs = [("price[gte]", "10"), ("price[lte]", "99.5"), ("sort", "-price"), ("a[]", "1"), ("a[]", "2"), ("filter[color]", "red|blue"), ("size", "38-40"), ("range", "[10 TO 20]"), ("brand", person(draw)), ("q", "*:*"), ("where", json.dumps({"status": {"$in": ["open", "new"]}, "n": {"$gt": 3}})), ("fields", "id,name,(items(id,sku))"), ("include", "author.posts,tags"), ("order", draw.choice(("created_at desc", "name ASC", "price.desc", "-date,+name"))), ("order_by", "1"), ("orderby", "price"), ("filters", f"({name(draw)}:'{name(draw)}' OR price<10) AND NOT sold:true"), ("facetFilters", json.dumps([[f"cat:{sentence(draw)}"], "brand:x"])), ("select", "id,name,author(name)"), ("id", "eq.5"), ("or", "(age.gte.14,age.lte.18)"), ("bbox", "1.5,2.5,3.5,4.5"), ("date", "2024-01-01..2024-12-31"), ("group", "city"), ("limit", "10"), ("columns[0][data]", "id"), ("columns[0][search][value]", ""), ("order[0][dir]", "asc"), ("filter", f"{name(draw)} eq '{sentence(draw)}' and x gt 5"), ("range", json.dumps([0, 24])), ("sort", '["id","ASC"]'), ("view", "list"), ("url", address(draw)), ("returnTo", "/account/orders?tab=1&x=2"), ("next", "/a/b?c=d#e"), ("callback", "jQuery11_123"), ("file", path(draw).removeprefix("../")), ("path", "docs/readme.md"), ("dir", "/var/www/html"), ("tz", "Europe/Berlin"), ("t", "12:30:15"), ("coords", "48.1,-11.5"), ("phone", "+49 (30) 123-45"), ("expr", maths(draw)), ("lang", "en_US"), ("template", "{{name}}"), ("format", "%Y-%m-%d %H:%M")]  # fmt: skip
    chosen = draw.sample(pairs, draw.randint(2, 9))
    return _request("GET", f"/api/items?{urlencode(chosen, safe=draw.choice(_SAFE))}", browser(draw, fetch="empty"))


def _odata(draw: random.Random) -> Made:
    spec = {
        "$filter": query_text(draw)
        if draw.random() < 0.3
        else f"Name eq '{person(draw).replace(chr(39), chr(39) * 2)}' and Price lt {draw.randint(1, 99)} or contains(Title,'{name(draw)}')",
        "$orderby": "Name desc,Id",
        "$select": "Id,Name",
        "$expand": "Items($select=Id;$filter=Qty gt 5;$top=3)",
        "$top": "10",
        "$skip": "20",
        "$count": "true",
        "$apply": "groupby((Name),aggregate(Total with sum as Sum))",
    }
    target = f"/odata/Products({draw.randint(1, 9)})/Orders?{urlencode({k: spec[k] for k in draw.sample(sorted(spec), 4)}, safe='$')}"
    restli = f"/voyager/api/graphql?includeWebMetadata=true&variables=(start:0,count:10,query:(keywords:{quote(sentence(draw), safe='')},flagshipSearchIntent:SEARCH,queryParameters:List((key:resultType,value:List(PEOPLE)))))&queryId=voyager.{token(draw)}"
    return _request(
        "GET", draw.choice((target, target, restli)), program(draw) if draw.random() < 0.5 else browser(draw)
    )


def _oauth(draw: random.Random) -> Made:
    spec = {"client_id": uid(draw), "redirect_uri": f"https://{host(draw)}/signin-oidc", "response_type": "code id_token", "scope": "openid profile email https://graph.example.com/User.Read", "state": base64.urlsafe_b64encode(json_text(draw).encode()).decode(), "nonce": token(draw), "code_challenge": token(draw, 32, 32), "code_challenge_method": "S256", "response_mode": "form_post", "prompt": "login", "ui_locales": "de-DE", "claims": json.dumps({"id_token": {"auth_time": {"essential": True}}}), "login_hint": "o'brien@example.com", "acr_values": "urn:mace:incommon:iap:silver", "x-client-SKU": "MSAL.JS"}  # fmt: skip
    if draw.random() < 0.4:
        native = {
            "grant_type": "authorization_code",
            "code": token(draw),
            "redirect_uri": draw.choice(
                (
                    "http://localhost:8400/callback",
                    "http://127.0.0.1:53682/",
                    "com.example.app://oauth",
                    "urn:ietf:wg:oauth:2.0:oob",
                )
            ),
            "code_verifier": token(draw),
            "client_assertion": jwt(draw),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }
        return _request("POST", "/oauth/token", program(draw), urlencode(native), _FORM)
    if draw.random() < 0.2:
        spec["redirect_uri"] = "http://localhost:3000/callback"
    return _request("GET", f"/authorize?{urlencode(spec)}", browser(draw))


def _saml(draw: random.Random) -> Made:
    document = f'<?xml version="1.0"?><samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_{token(draw)}" Destination="https://{host(draw)}/acs"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">https://idp.example.com/</saml:Issuer><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:Reference URI="#_{token(draw)}"><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms></ds:Reference></ds:Signature><saml:AttributeStatement><saml:Attribute Name="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"><saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xsi:type="xs:string">{person(draw)}</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></samlp:Response>'
    if draw.random() < 0.5:
        packed = zlib.compress(document.encode())[2:-4]
        return _request(
            "GET",
            f"/sso?{urlencode({'SAMLRequest': base64.b64encode(packed).decode(), 'RelayState': address(draw), 'SigAlg': 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'Signature': base64.b64encode(draw.randbytes(90)).decode()})}",
            browser(draw),
        )
    return _post(
        draw,
        "/saml/acs",
        urlencode(
            {
                "SAMLResponse": base64.b64encode(document.encode()).decode(),
                "RelayState": draw.choice((address(draw), "ss:mem:" + token(draw), "/home")),
            }
        ),
        _FORM,
    )


def _graphql(draw: random.Random) -> Made:
    a, b = name(draw), name(draw)
    documents = (
        f"query {a.title()}($id: ID!, $first: Int = 10) {{ {a}(id: $id) {{ id ...{b.title()}Parts edges(first: $first, filter: {{{b}: \"{sentence(draw).replace(chr(34), '')}\"}}) {{ node {{ id __typename }} cursor }} }} }} fragment {b.title()}Parts on {b.title()} {{ name @include(if: true) }}", f"mutation {{ create{a.title()}(input: {{title: \"{sentence(draw).replace(chr(34), '')}\", body: \"\"\"{prose(draw)}\"\"\"}}) {{ {a} {{ id }} errors {{ message path }} }} }}",
        f"{{ me {{ name {a} {{ ... on {b.title()} {{ url(size: LARGE) }} }} }} __typename }}", f"subscription On{a.title()} {{ {a}Changed(ids: [1, 2, 3]) {{ {b} }} }}", f"query ($w: {a}_bool_exp!) {{ {a}(where: $w, order_by: {{created_at: desc}}, limit: 5) {{ id {b}_aggregate {{ aggregate {{ count }} }} }} }}",
    )  # fmt: skip
    document = draw.choice(documents)
    variables = {
        "id": uid(draw),
        "input": {"text": _any(draw)},
        "where": {"_and": [{"name": {"_ilike": f"%{b}%"}}, {"n": {"_gt": 3}}]},
    }
    roll = draw.random()
    if roll < 0.2:
        return _request(
            "GET",
            f"/graphql?{urlencode({'operationName': a, 'variables': json.dumps(variables), 'extensions': json.dumps({'persistedQuery': {'version': 1, 'sha256Hash': f'{draw.getrandbits(256):064x}'}})})}",
            browser(draw, fetch="empty"),
        )
    if roll < 0.35:
        return _request(
            "GET", f"/graphql?{urlencode({'query': document, 'variables': '{}'})}", browser(draw, fetch="empty")
        )
    if roll < 0.5:
        pairs = {
            "av": "1000",
            "__user": "0",
            "__a": "1",
            "__req": "a",
            "__hs": "19999.HYP:comet_pkg.2.1..2.1",
            "dpr": "1",
            "__csr": token(draw, 100, 150),
            "fb_dtsg": f"NA{token(draw)}:12:{draw.randint(1, 99999)}",
            "lsd": token(draw),
            "doc_id": str(draw.getrandbits(50)),
            "variables": json.dumps(variables),
            "fb_api_caller_class": "RelayModern",
            "server_timestamps": "true",
        }
        return _post(draw, "/api/graphql/", urlencode(pairs), _FORM)
    operation = {"operationName": a, "query": document, "variables": variables}
    return _post(draw, "/graphql", [operation, operation] if roll > 0.85 else operation)


def _rpc(draw: random.Random) -> Made:
    return _post(
        draw,
        "/rpc",
        {
            "jsonrpc": "2.0",
            "id": draw.randint(1, 99),
            "method": draw.choice(
                ("eth_call", "tools/call", "textDocument/didChange", "system.listMethods", "execute_kw")
            ),
            "params": [
                name(draw),
                {"text": _any(draw), "args": [[["name", "=", person(draw)], "|", ["x", "!=", False]]]},
                f"0x{draw.getrandbits(256):x}",
            ],
        },
    )


def _rest(draw: random.Random) -> Made:
    value = {"id": uid(draw), "customer": {"name": person(draw), "address": {"street": TEXTS["postal"](draw), "phone": TEXTS["phone"](draw)}}, "items": [{"sku": token(draw), "title": sentence(draw), "price": 9.99, "attrs": {name(draw): sentence(draw)}} for _ in range(draw.randint(1, 5))], "note": _any(draw), "callbackUrl": address(draw), "tags": [name(draw), sentence(draw)], "created": "2024-11-18T10:21:33.123+01:00", "html": markup(draw), "filters": {"where": {"price": {"$gte": 10}}}, "cron": draw.choice(("*/5 * * * *", "0 0 1 1 ?")), "path": path(draw)}  # fmt: skip
    chosen = {key: value[key] for key in draw.sample(sorted(value), draw.randint(2, 8))}
    return _request(
        draw.choice(("POST", "PUT", "PATCH")),
        f"/api/v1/{name(draw)}/{draw.randint(1, 999)}",
        browser(draw, fetch="empty") if draw.random() < 0.7 else program(draw),
        json.dumps(chosen, ensure_ascii=draw.random() < 0.5),
        _JSON,
    )


def _patch(draw: random.Random) -> Made:
    return _request(
        "PATCH",
        "/api/items/5",
        program(draw),
        json.dumps(
            [
                {
                    "op": draw.choice(("replace", "test", "remove")),
                    "path": f"/{name(draw)}/0/{name(draw)}",
                    "value": _any(draw),
                }
            ]
        ),
        "application/json-patch+json",
    )


def _logs(draw: random.Random) -> Made:
    rows = [{"level": "error", "message": draw.choice((log, log, sentence, sql, shell))(draw), "logger": f"com.example.{name(draw)}", "host": f"web-{draw.randint(1, 9)}.internal", "ip": f"10.0.{draw.randint(0, 9)}.{draw.randint(1, 254)}", "path": path(draw), "url": f"http://{name(draw)}.svc.cluster.local:8080/health", "args": [name(draw)], "ts": 1.5, "request": {"method": "GET", "url": f"/x?{tracked(draw)}", "headers": {"User-Agent": "curl/8"}}} for _ in range(draw.randint(1, 6))]  # fmt: skip
    lines = "\n".join(json.dumps(each) for each in rows)
    if draw.random() < 0.4:
        return _request(
            "POST",
            "/_bulk",
            program(draw),
            "".join(f'{{"index":{{"_index":"logs"}}}}\n{line}\n' for line in lines.split("\n")),
            "application/x-ndjson",
        )
    if draw.random() < 0.3:
        return _request(
            "POST",
            "/v1/input",
            [*program(draw), (b"content-encoding", b"gzip")],
            gzip.compress(json.dumps(rows).encode(), mtime=0),
            _JSON,
        )
    return _request(
        "POST",
        "/v1/input",
        program(draw),
        draw.choice(
            (
                lines,
                json.dumps(rows),
                json.dumps({"streams": [{"stream": {"app": name(draw)}, "values": [["1", log(draw)]]}]}),
            )
        ),
        draw.choice((_JSON, "text/plain;charset=UTF-8")),
    )


def _report(draw: random.Random) -> Made:
    csp = {
        "csp-report": {
            "document-uri": address(draw),
            "referrer": address(draw),
            "violated-directive": "script-src-elem",
            "effective-directive": "script-src",
            "original-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'nonce-abc' https://cdn.example.com; img-src * data: blob:; frame-ancestors 'none'; report-uri /csp",
            "blocked-uri": draw.choice(("inline", "eval", "data", "https://x.example/a.js", "blob")),
            "script-sample": draw.choice(
                (
                    "console.log('x')",
                    "window.dataLayer = window.dataLayer || [];",
                    "(function(w,d,s,l,i){w[l]=w[l]||[]",
                    "var a = 1;",
                )
            ),
            "source-file": address(draw),
            "status-code": 200,
        }
    }
    nel = [
        {
            "age": 5,
            "type": draw.choice(("network-error", "deprecation", "intervention")),
            "url": address(draw),
            "user_agent": "Mozilla/5.0",
            "body": {
                "elapsed_time": 1,
                "phase": "connection",
                "type": "tcp.timed_out",
                "server_ip": "203.0.113.5",
                "protocol": "http/1.1",
                "sampling_fraction": 0.1,
                "message": "Unload event listeners are deprecated and will be removed.",
                "sourceFile": address(draw),
            },
        }
    ]
    return draw.choice(
        (_post(draw, "/csp", csp, "application/csp-report"), _post(draw, "/nel", nel, "application/reports+json"))
    )


def _sentry(draw: random.Random) -> Made:
    event = {
        "event_id": token(draw),
        "platform": "javascript",
        "exception": {
            "values": [
                {
                    "type": "TypeError",
                    "value": log(draw),
                    "stacktrace": {
                        "frames": [
                            {
                                "filename": address(draw),
                                "function": name(draw),
                                "lineno": 1,
                                "context_line": code(draw),
                                "pre_context": [code(draw)],
                                "vars": {"e": code(draw)},
                            }
                        ]
                    },
                }
            ]
        },
        "breadcrumbs": [
            {"category": "ui.click", "message": f'div.{name(draw)} > button#{name(draw)}[type="submit"][onclick]'},
            {"category": "fetch", "data": {"url": address(draw), "method": "GET"}},
            {"category": "console", "message": log(draw)},
            {"category": "query", "message": sql(draw)},
        ],
        "request": {"url": address(draw), "headers": {"Referer": address(draw)}},
        "user": {"ip_address": "{{auto}}"},
    }
    lines = (
        json.dumps(
            {
                "event_id": token(draw),
                "sent_at": "2024-11-18T10:21:33Z",
                "dsn": f"https://{token(draw)}@o1.ingest.example.io/1",
            }
        ),
        json.dumps({"type": "event"}),
        json.dumps(event),
    )
    if draw.random() < 0.6:
        return _request(
            "POST",
            f"/api/1/envelope/?sentry_key={token(draw)}&sentry_version=7&sentry_client=sentry.javascript.react%2F8.9.2",
            browser(draw, fetch="empty"),
            "\n".join(lines),
            "text/plain;charset=UTF-8",
        )
    rum = "\n".join(
        json.dumps(
            {
                "type": "resource",
                "view": {"url": address(draw), "referrer": address(draw)},
                "error": {"stack": log(draw), "message": log(draw)},
                "action": {"target": {"name": sentence(draw), "selector": 'BODY>DIV:nth-of-type(2)>A[data-x="1"]'}},
                "_dd": {"format_version": 2},
            }
        )
        for _ in range(3)
    )
    return _request(
        "POST",
        "/api/v2/rum?ddsource=browser&ddtags=sdk_version%3A5.20.0%2Capi%3Afetch%2Cenv%3Aprod%2Cservice%3Aweb&dd-api-key=pub&batch_time=1",
        browser(draw, fetch="empty"),
        rum,
        "text/plain;charset=UTF-8",
    )


def _events(draw: random.Random) -> Made:
    event = {
        "event": sentence(draw),
        "properties": {
            "$current_url": address(draw),
            "title": sentence(draw),
            "$el_text": sentence(draw),
            "search": draw.choice((sentence, person))(draw),
            "selector": f'div.{name(draw)} > ul:nth-child(2) > a[href="{address(draw)}"]',
            "elements": [
                {
                    "tag_name": "a",
                    "attr__href": address(draw),
                    "attr__class": "btn",
                    "attr__onclick": f"{name(draw)}('click')",
                    "attr__style": "color:red",
                }
            ],
            "utm_term": None,
        },
        "context": {
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
            "page": {"path": "/", "search": f"?{tracked(draw)}"},
            "library": {"name": "analytics.js"},
        },
        "anonymousId": uid(draw),
    }
    replay = {
        "type": 3,
        "data": {
            "source": 0,
            "texts": [],
            "attributes": [{"id": 5, "attributes": {"style": "display: none;", "class": "x"}}],
            "adds": [
                {
                    "parentId": 1,
                    "node": {
                        "type": 2,
                        "tagName": draw.choice(("div", "script", "iframe", "a", "svg")),
                        "attributes": {
                            "href": address(draw),
                            "onclick": f"return {name(draw)}(this)",
                            "src": address(draw),
                        },
                        "childNodes": [
                            {
                                "type": 3,
                                "textContent": draw.choice(
                                    (sentence(draw), "SCRIPT_PLACEHOLDER", ".a{color:red} @import url(x.css);")
                                ),
                            }
                        ],
                    },
                }
            ],
        },
    }
    roll = draw.random()
    if roll < 0.3:
        return _post(
            draw,
            "/e/?ip=1&compression=base64",
            urlencode({"data": base64.b64encode(json.dumps([event]).encode()).decode()}),
            _FORM,
        )
    if roll < 0.5:
        return _post(draw, "/s/", [replay, replay], draw.choice((_JSON, "text/plain")))
    if roll < 0.6:
        batch = f"en=page_view&_ee=1&ep.page_title={quote(sentence(draw))}&dl={quote(address(draw), safe='')}\r\nen=scroll&epn.percent=90&ep.link_text={quote(sentence(draw))}"
        return _post(draw, beacon(draw), batch, "text/plain;charset=UTF-8")
    return _post(
        draw,
        "/v1/batch",
        {"batch": [event] * draw.randint(1, 3), "sentAt": "2024-11-18T10:21:33Z", "writeKey": token(draw)},
        draw.choice((_JSON, "text/plain")),
    )


def _opaque(draw: random.Random) -> Made:
    """What bot defences, batch endpoints and advertisement exchanges post."""
    noise = "".join(
        draw.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_,;:.~!$'()*+|^{}[]#@&=/")
        for _ in range(draw.randint(60, 600))
    )
    sensor = f"3;0;1;0;{draw.getrandbits(22)};{token(draw)}=;{draw.randint(1, 99)},0,0,1,2,0;{noise}"
    batch = json.dumps([[["MkEWBc", json.dumps([[sentence(draw), "auto", "de", True], [None]]), None, "generic"]]])
    bid = {
        "id": token(draw),
        "imp": [
            {
                "id": "1",
                "banner": {"format": [{"w": 300, "h": 250}], "api": [1, 2]},
                "secure": 1,
                "ext": {"data": {"pbadslot": "/123/home"}},
            }
        ],
        "site": {"page": address(draw), "ref": address(draw), "keywords": sentence(draw), "publisher": {"id": "1"}},
        "regs": {"ext": {"gdpr": 1, "us_privacy": "1---"}},
        "user": {"ext": {"consent": token(draw, 90, 120)}},
    }
    timing = {
        "perf": json.dumps({"navigation": {"type": 0}}),
        "rt.si": uid(draw),
        "u": address(draw),
        "v": "1.720.0",
        "dom.ck": "512",
        "restiming": json.dumps(
            {"https://": {name(draw): "6,a,5*1z,_e", "x.example/": {"js/|a.js": f"*0{token(draw)}"}}}
        ),
        "err": f"1*2~{name(draw)}",
    }
    return draw.choice((_post(draw, f"/{token(draw)}/{token(draw)}", {"sensor_data": sensor}, "text/plain;charset=UTF-8"), _post(draw, "/_/FrontendUi/data/batchexecute?rpcids=MkEWBc&f.sid=-123&bl=boq&hl=de&_reqid=1&rt=c", urlencode({"f.req": batch, "at": f"{token(draw)}:{draw.randint(1, 999999)}"}) + "&", _FORM), _post(draw, "/openrtb2/auction", bid, "text/plain"), _post(draw, "/beacon/", urlencode(timing), _FORM), _post(draw, "/collector", f"payload={quote(base64.b64encode(noise.encode()).decode(), safe='')}&appId=PX{token(draw, 4, 4)}&tag=v8&uuid={uid(draw)}&ft=2&seq=1&en=NTA", _FORM), _request("POST", "/log?format=json&hasfast=true", browser(draw, fetch="empty"), draw.randbytes(draw.randint(40, 600)), draw.choice(("application/x-protobuf", "application/octet-stream", "application/grpc-web+proto", "text/plain;charset=UTF-8"))), _post(draw, "/f", quote(noise), "text/plain")))  # fmt: skip


def _hook(draw: random.Random) -> Made:
    diff = f"diff --git a/{name(draw)}.py b/{name(draw)}.py\n--- a/{name(draw)}.py\n+++ b/{name(draw)}.py\n@@ -1,3 +1,4 @@\n-{code(draw)}\n+{code(draw)}\n"
    push = {
        "ref": "refs/heads/main",
        "commits": [
            {
                "id": f"{draw.getrandbits(160):040x}",
                "message": f"{sentence(draw)}\n\n{markdown(draw) if draw.random() < 0.4 else prose(draw)}",
                "author": {"name": person(draw), "email": "o'brien@example.com"},
                "modified": [f"src/{name(draw)}.php", "../shared/x.sql"],
            }
        ],
        "repository": {
            "clone_url": f"https://{host(draw)}/a/b.git",
            "keys_url": f"https://{host(draw)}/repos/a/b/keys{{/key_id}}",
        },
        "diff": diff,
    }
    pay = {
        "id": f"evt_{token(draw)}",
        "type": "invoice.paid",
        "data": {
            "object": {
                "amount": 999,
                "description": sentence(draw),
                "customer_name": person(draw),
                "metadata": {name(draw): sentence(draw)},
                "statement_descriptor": "O'BRIEN* SHOP",
                "receipt_url": address(draw),
            }
        },
    }
    build = {
        "job": name(draw),
        "status": "failed",
        "log": log(draw),
        "script": [shell(draw), shell(draw)],
        "env": {"PATH": "/usr/bin:/bin"},
        "url": f"http://ci.internal:8080/job/{name(draw)}",
    }
    comment = {
        "action": "created",
        "comment": {"body": draw.choice((markdown, ticket))(draw), "user": {"login": name(draw)}},
        "issue": {"title": sentence(draw), "body": ticket(draw)},
    }
    return _request("POST", "/hooks/push", program(draw), json.dumps(draw.choice((push, pay, build, comment))), _JSON)


def _fields(draw: random.Random, text: str) -> Made:
    pairs = {
        "title": sentence(draw),
        draw.choice(("content", "body", "message", "description", "text", "comment")): text,
        "author": person(draw),
        "csrf_token": token(draw),
        "_method": "put",
        "tags[]": name(draw),
        "submit": "Save & continue",
        "utf8": "✓",
    }
    if draw.random() < 0.5:
        return _post(
            draw, "/posts", {key: value for key, value in pairs.items() if draw.random() < 0.8 or value is text}
        )
    if draw.random() < 0.6:
        return _post(draw, "/wp-admin/post.php?action=edit", urlencode(pairs), _FORM)
    return _multipart(
        draw, [(f'form-data; name="{key}"', value.encode("utf-8", "replace")) for key, value in pairs.items()]
    )


def _multipart(draw: random.Random, parts: list[tuple[str, bytes]]) -> Made:
    boundary = f"----WebKitFormBoundary{token(draw, 12, 12)}"
    body = (
        b"".join(
            f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n".encode() + content + b"\r\n"
            for head, content in parts
        )
        + f"--{boundary}--\r\n".encode()
    )
    return _request("POST", "/upload", browser(draw, fetch="empty"), body, f"multipart/form-data; boundary={boundary}")


def _upload(draw: random.Random) -> Made:
    svg = '<?xml version="1.0" encoding="UTF-8" standalone="no"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><style>.a{fill:#fff}</style><use xlink:href="#a"/><image xlink:href="data:image/png;base64,iVBORw0KGgo="/><a href="https://example.com"><text>hi</text></a></svg>'
    ending, media, content = draw.choice((("csv", "text/csv", "\n".join(row(draw) for _ in range(8))), ("txt", "text/plain", ticket(draw)), ("sql", "application/sql", "\n".join(sql(draw) for _ in range(5))), ("js", "text/javascript", code(draw)), ("py", "text/x-python", code(draw)), ("html", "text/html", f'<!DOCTYPE html><html><head><script src="/a.js"></script></head><body onload="init()">{markup(draw)}</body></html>'), ("svg", "image/svg+xml", svg), ("xml", "text/xml", f"<a><b>{name(draw)}</b></a>"), ("json", _JSON, json_text(draw)), ("md", "text/markdown", markdown(draw)), ("png", "image/png", ""), ("pdf", "application/pdf", ""), ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ""), ("log", "text/plain", log(draw)), ("eml", "message/rfc822", f"From: {person(draw)} <a@example.com>\nSubject: {sentence(draw)}\n\n{prose(draw)}"), ("tar.gz", "application/gzip", ""), ("vcf", "text/vcard", f"BEGIN:VCARD\nFN:{person(draw)}\nEND:VCARD")))  # fmt: skip
    file = f"{draw.choice((name(draw), sentence(draw)[:40].replace('/', '-').replace(chr(34), ''), person(draw), f'IMG_{draw.randint(1, 9999)} (1)', 'Screenshot 2024-11-18 at 10.21.33', f'{name(draw)}.v1.2.final', '履歴書'))}.{ending}"
    raw = content.encode("utf-8", "replace") or draw.randbytes(draw.randint(200, 3000))
    return _multipart(
        draw,
        [
            ('form-data; name="comment"', sentence(draw).encode()),
            (f'form-data; name="file"; filename="{file}"\r\nContent-Type: {media}', raw),
        ],
    )


def _raw(draw: random.Random) -> Made:
    roll = draw.random()
    if roll < 0.3:
        return _request(
            "PUT",
            f"/files/{quote(name(draw))}.bin",
            program(draw),
            draw.randbytes(draw.randint(100, 3000)),
            draw.choice(("application/octet-stream", "image/jpeg", "application/zip", "")),
        )
    if roll < 0.5:
        return _request(
            "PUT",
            f"/files/{quote(person(draw))}.txt",
            program(draw),
            draw.choice((prose, ticket, code, row))(draw),
            "text/plain",
        )
    if roll < 0.7:
        return _request("POST", "/import", program(draw), "\n".join(row(draw) for _ in range(10)), "text/csv")
    picture = base64.b64encode(draw.randbytes(draw.randint(100, 1500))).decode()
    return _post(
        draw,
        "/avatar",
        {
            "image": f"data:image/png;base64,{picture}",
            "svg": f"data:image/svg+xml;utf8,{quote('<svg xmlns=`http://www.w3.org/2000/svg`><path d=`M1 2`/></svg>'.replace('`', chr(39)))}",
            "blob": picture,
            "name": person(draw),
        },
    )


def _soap(draw: random.Random) -> Made:
    envelope = f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://example.com/schema schema.xsd"><soap:Body><m:{name(draw)} xmlns:m="http://example.com/"><m:note>{sentence(draw).replace("&", "&amp;").replace("<", "&lt;")}</m:note><m:raw><![CDATA[{prose(draw)}]]></m:raw><m:by>{person(draw)}</m:by></m:{name(draw)}></soap:Body></soap:Envelope>'
    feed = f'<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><item><title>{name(draw)}</title><content:encoded><![CDATA[{markup(draw)}]]></content:encoded><link>https://{host(draw)}/</link></item></channel></rss>'
    call = f"<?xml version='1.0'?><methodCall><methodName>metaWeblog.newPost</methodName><params><param><value><string>{sentence(draw).replace('&', '&amp;').replace('<', '&lt;')}</string></value></param></params></methodCall>"
    dav = '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:getlastmodified/><D:getcontentlength/></D:prop></D:propfind>'
    if draw.random() < 0.25:
        return _request(
            draw.choice(("PROPFIND", "REPORT")),
            f"/dav/{quote(person(draw))}/",
            program(draw),
            dav,
            "application/xml; charset=utf-8",
        )
    return _request(
        "POST",
        "/ws",
        [*program(draw), (b"soapaction", b'"http://example.com/Do"')],
        draw.choice((envelope, feed, call)),
        draw.choice(("text/xml; charset=utf-8", "application/soap+xml")),
    )


def _monitor(draw: random.Random) -> Made:
    checks = {
        "targets": [
            {
                "url": f"http://{draw.choice(('10.0.0.5:9100', '192.168.1.10', 'db-1.internal', 'localhost:8080', '127.0.0.1:3000'))}/metrics",
                "labels": {"job": name(draw)},
            }
        ],
        "instance": f"10.0.3.{draw.randint(1, 254)}:9100",
        "query": query_text(draw),
        "schedule": "0 */6 * * 1-5",
        "command": ["/usr/bin/check_http", "-H", host(draw)],
    }
    alerts = {
        "receiver": "team",
        "alerts": [
            {
                "labels": {"alertname": name(draw), "instance": "10.1.2.3:9100"},
                "annotations": {
                    "summary": f"{sentence(draw)} on {{{{ $labels.instance }}}}",
                    "description": "Disk at {{ $value | humanize }}% on /var/log",
                },
                "generatorURL": f"http://prometheus.internal:9090/graph?g0.expr={quote(query_text(draw))}",
            }
        ],
        "externalURL": "http://alertmanager.monitoring.svc:9093",
    }
    panel = {
        "queries": [
            {
                "refId": "A",
                "expr": query_text(draw),
                "rawSql": sql(draw),
                "datasource": {"type": "mysql", "uid": token(draw)},
                "legendFormat": "{{instance}}",
            }
        ],
        "from": "now-6h",
        "to": "now",
    }
    return _request(
        "POST", "/api/ds/query", browser(draw, fetch="empty"), json.dumps(draw.choice((checks, alerts, panel))), _JSON
    )


def _template(draw: random.Random) -> Made:
    body = draw.choice((f"Dear {{{{name}}}},\n{prose(draw)}\n{{{{#if order}}}}{{{{order.total}}}}{{{{/if}}}}", f"<p>Hi *|FNAME|*, {{{{ customer.first_name | default: 'there' }}}}</p>{markup(draw)}", "{% for item in cart.items %}{{ item.title | escape }} x {{ item.quantity | times: 2 }}{% endfor %}", "Hello %recipient.name%, %%EMAIL%% [[user.name]] ${user.name} <%= user.name %> #{name}", f"${{env.{name(draw).upper()}}}/bin:${{PATH}} ${{{name(draw)}:-x}}", "{{ 'now' | date: '%Y' }} © {{ shop.name }}", f'{{$json["{name(draw)}"]}} {{{{ $json.body.{name(draw)} }}}} {{{{ $node["X"].json.id }}}}', f"{{{{ states('sensor.{name(draw)}') | float > 20 }}}} {{% if is_state('light.a', 'on') %}}on{{% endif %}}", f"{{{{steps.trigger.event.{name(draw)}}}}} {{{{1. Name}}}}"))  # fmt: skip
    return _fields(draw, body)


def _editor(draw: random.Random) -> Made:
    """A code playground, a pull request's comment, a notebook, a chat with a coding assistant."""
    source = "\n".join(code(draw) for _ in range(draw.randint(1, 4)))
    chat = {
        "model": "x",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": f"{sentence(draw)}\n```\n{source}\n```\n{sentence(draw)}"},
        ],
        "temperature": 0.7,
    }
    book = {
        "cells": [
            {"cell_type": "code", "source": source.split("\n"), "outputs": [{"text": log(draw)}]},
            {"cell_type": "markdown", "source": [markdown(draw)]},
        ]
    }
    review = {
        "body": markdown(draw),
        "path": f"src/{name(draw)}.sql",
        "diff_hunk": f"@@ -1 +1 @@\n-{code(draw)}\n+{code(draw)}",
    }
    return _post(draw, "/api/chat", draw.choice((chat, book, review)))


def _code_field(draw: random.Random) -> Made:
    """Code by itself in a field, as online editors and query consoles send it; the hardest to tell apart."""
    return _post(
        draw, "/run", {"language": "x", "source": "\n".join(code(draw) for _ in range(draw.randint(1, 3))), "stdin": ""}
    )


def _login(draw: random.Random) -> Made:
    word = "".join(draw.choice("abcXYZ019!@#$%^&*()_+-=[]{}|;':\",./<>?`~ ") for _ in range(draw.randint(8, 24)))
    pairs = {
        "email": f"{draw.choice(('o' + chr(39) + 'brien', 'a.b+tag', 'x_y'))}@example.com",
        "password": word,
        "remember": "on",
        "next": "/account?x=1",
        "g-recaptcha-response": token(draw, 100, 150),
    }
    return _post(draw, "/login", urlencode(pairs), _FORM) if draw.random() < 0.5 else _post(draw, "/api/login", pairs)


def _viewstate(draw: random.Random) -> Made:
    pairs = {"__EVENTTARGET": "ctl00$Main$btn", "__EVENTARGUMENT": "", "__VIEWSTATE": base64.b64encode(b"\xff\x01" + draw.randbytes(200)).decode(), "__VIEWSTATEGENERATOR": "CA0B0334", "__EVENTVALIDATION": base64.b64encode(draw.randbytes(60)).decode(), "ctl00$Main$txt": _any(draw), "javax.faces.ViewState": f"-{draw.getrandbits(60)}:{draw.getrandbits(60)}", "javax.faces.partial.ajax": "true", "javax.faces.source": "form:btn", "javax.faces.partial.execute": "@all", "javax.faces.partial.render": "form:panel form:msgs", "oper": "add", "cmd": draw.choice(("login", "_xclick", "save", "list")), "sql_mode": "", "exec": "1"}  # fmt: skip
    return _post(draw, "/default.aspx", urlencode(pairs), _FORM)


def _text_in(make: Callable[[random.Random], str]) -> Callable[[random.Random], Made]:
    return lambda draw: _fields(draw, make(draw))


def _robot(draw: random.Random) -> Made:
    return _request(
        draw.choice(("GET", "HEAD", "OPTIONS")),
        draw.choice(
            (
                "/robots.txt",
                "/",
                f"/feed/?cat={draw.randint(1, 9)}",
                "/sitemap.xml",
                "/api/health",
                f"/{name(draw)}.rss",
                "/favicon.ico",
                "/ads.txt",
                f"/simple/{name(draw)}/",
                "/v2/",
                "/a/b.git/info/refs?service=git-upload-pack",
                f"/search?q={quote(sentence(draw))}",
            )
        ),
        program(draw),
    )


def _link(draw: random.Random) -> Made:
    inner = address(draw)
    return _request(
        "GET",
        draw.choice(
            (
                f"/redirect?url={quote(inner, safe='')}",
                f"/share?u={quote(inner, safe='')}&t={quote(sentence(draw))}&via=x",
                f"/proxy/image?src={quote(inner)}&w=640&q=75",
                f"/embed?url={inner}",
                f"/login?continue={quote(address(draw) + '?x=' + quote(inner, safe=''), safe='')}",
                f"/_next/image?url=%2Fimg%2F{name(draw)}.png&w=640&q=75",
                f"/oembed?format=json&url={quote(inner, safe='')}",
                f"/go/{inner}",
                f"/player?file={quote(inner, safe='')}&image=/a.jpg&plugins=x",
                f"/web/2024/{inner}",
                f"/iiif/2/{quote('a/b.jp2', safe='')}/full/max/0/default.jpg",
                f"/viewer.html?file=%2Fdocs%2F{name(draw)}.pdf#page=2".partition("#")[0],
            )
        ),
        browser(draw),
    )


KINDS: Final[dict[str, Callable[[random.Random], Made]]] = {
    "page": _page, "beacon": _beacon, "search": _search, "filters": _filters, "odata": _odata, "oauth": _oauth, "saml": _saml, "graphql": _graphql, "json-rpc": _rpc, "rest": _rest, "json-patch": _patch, "logs": _logs, "reports": _report, "errors": _sentry, "events": _events,
    "opaque": _opaque, "webhooks": _hook, "uploads": _upload, "raw": _raw, "soap": _soap, "monitoring": _monitor, "templates": _template, "code-editor": _editor, "code-field": _code_field, "login": _login, "viewstate": _viewstate, "robots": _robot, "links": _link,
    **{f"field-{key}": _text_in(make) for key, make in TEXTS.items() if key != "regex"},
}  # fmt: skip
"""Makers by kind."""
