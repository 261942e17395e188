"""The heads of honest requests: what browsers and programs say of themselves, cookies, referers, beacons of trackers."""

# ruff: noqa: E501 - tables of header fields as browsers send them.

import base64
import json
import random
from typing import Final
from urllib.parse import quote, urlencode

from legitimate_text import address, host, name, person, prose, sentence, token, uid

from seawall.core.request import Header

__all__ = ["agent", "beacon", "browser", "cookies", "jwt", "program", "tracked"]

_PLATFORMS: Final = (
    "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64", "iPhone; CPU iPhone OS 17_5 like Mac OS X", "Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv", "Linux; U; Android 4.4.2; en-us; LG-V410/V41010d", "compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0; .NET CLR 3.5.30729; InfoPath.3",
)  # fmt: skip
_PROGRAMS: Final = (
    "curl/8.5.0", "Wget/1.21.4", "python-requests/2.32.3", "Go-http-client/2.0", "okhttp/4.12.0", "PostmanRuntime/7.39.0", "axios/1.7.2", "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "Apache-HttpClient/4.5.14 (Java/17.0.10)", "Java/1.8.0_392", "aiohttp/3.9.5", "python-httpx/0.27.0", "Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7)", "git/2.43.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "Twitterbot/1.0", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "kube-probe/1.29", "ELB-HealthChecker/2.0", "Prometheus/2.51.0", "Datadog/Synthetics", "GitHub-Hookshot/a1b2c3d", "Stripe/1.0 (+https://stripe.com/docs/webhooks)", "Feedly/1.0 (+http://www.feedly.com/fetcher.html; 5 subscribers; like FeedFetcher-Google)", "WordPress/6.5.2; https://blog.example.com",
    "AHC/2.1", "libwww-perl/6.72", "Ruby", "PHP/8.2.12", "GuzzleHttp/7", "Microsoft-WebDAV-MiniRedir/10.0.19045", "Dropbox/199.4 (Windows 10)", "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17531; Pro)", "VLC/3.0.20 LibVLC/3.0.20", "AppleCoreMedia/1.0.0.21F79 (iPhone; U; CPU OS 17_5 like Mac OS X; en_us)", "MyApp/3.2.1 (iPhone; iOS 17.5; Scale/3.00)", "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)", "Apache/2.4.57 (Debian) (internal dummy connection)",
)  # fmt: skip
_LANGUAGES: Final = (
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.8",
    "fr-FR,fr;q=0.8,en-US;q=0.5,en;q=0.3",
    "zh-CN,zh;q=0.9",
    "*",
    "pt-BR;q=1, en-US;q=0.9",
)


def agent(draw: random.Random) -> str:
    """Return what a browser calls itself."""
    major = draw.randint(90, 140)
    tail = draw.choice((
        f"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36", f"Gecko/20100101 Firefox/{major}.0", "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", f"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.6478.127 Safari/537.36 Edg/{major}.0.2592.87 OPR/76.0",
        "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.36.107;FBBV/613;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.5;FBSS/3;FBCR/;FBID/phone;FBLC/de_DE;FBOP/80]", f"AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{major}.0 Mobile Safari/537.36 Instagram 340.0.0.22.109 Android (34/14; 450dpi; 1080x2115; samsung; SM-S918B; dm3q; qcom; en_US; 613)",
    ))  # fmt: skip
    return f"Mozilla/5.0 ({draw.choice(_PLATFORMS)}) {tail}"


def jwt(draw: random.Random) -> str:
    """Return a signed token that says who somebody is."""
    claims = {
        "iss": f"https://{host(draw)}/",
        "sub": f"auth0|{token(draw)}",
        "name": person(draw),
        "aud": ["api", "web"],
        "scope": "openid profile email",
        "exp": 1893456000,
        "roles": ["admin", "user"],
        "https://example.com/claims": {"tier": "gold"},
    }
    parts = ({"alg": "RS256", "typ": "JWT", "kid": token(draw)}, claims)
    return ".".join(
        [
            *(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts),
            token(draw, 64, 64),
        ]
    )


def _consent(draw: random.Random) -> str:
    when = quote("Mon Nov 18 2024 10:21:33 GMT+0100 (Central European Standard Time)").replace("%20", "+")
    groups = quote(",".join(f"C000{n}:{draw.randint(0, 1)}" for n in range(1, 6)))
    return f"isGpcEnabled=0&datestamp={when}&version=202409.1.0&browserGpcFlag=0&isIABGlobal=false&hosts=&consentId={uid(draw)}&interactionCount=1&isAnonUser=1&landingPath=NotLandingPage&groups={groups}&geolocation=DE%3BBE&AwaitingReconsent=false"


def cookies(draw: random.Random, *, most: int = 14) -> str:
    """Return a Cookie field: sessions, consent, analytics, experiments, preferences."""
    now = draw.randint(1_700_000_000, 1_800_000_000)
    state = {
        "distinct_id": uid(draw),
        "$device_id": uid(draw),
        "$initial_referrer": address(draw),
        "$initial_referring_domain": "$direct",
        "utm": None,
        "a": [1, {"b": sentence(draw)}],
    }
    fields = (
        f"_ga=GA1.2.{now}.{now}", f"_ga_{token(draw, 6, 6).upper()}=GS1.1.{now}.3.1.{now}.60.0.0", f"_gid=GA1.2.7.{now}", f"_fbp=fb.1.{now}123.{now}", f"_gcl_au=1.1.{now}.{now}", f"OptanonConsent={_consent(draw)}", f"OptanonAlertBoxClosed=2024-11-18T09:21:33.{draw.randint(0, 999)}Z", f"session={jwt(draw)}", f"PHPSESSID={token(draw, 12, 20)}",
        f"mp_{token(draw, 16, 16)}_mixpanel={quote(json.dumps(state))}", f"prefs={json.dumps({'theme': 'dark', 'lang': 'en', 'sizes': [1, 2]}, separators=(',', ':'))}", f"ajs_user_id=%22{uid(draw)}%22", f"__cf_bm={token(draw, 40, 60)}-{now}-1.0.1.1-{token(draw)}", f"_hjSessionUser_{draw.randint(1, 999999)}={base64.b64encode(json.dumps({'id': uid(draw), 'created': now, 'existing': True}).encode()).decode()}",
        f"CookieConsent={{stamp:%27{token(draw)}==%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:false%2Cmethod:%27explicit%27%2Cver:1%2Cutc:{now}%2Cregion:%27de%27}}", f"utag_main=v_id:{token(draw)}$_sn:{draw.randint(1, 9)}$_se:5%3Bexp-session$_ss:0%3Bexp-session$_st:{now}%3Bexp-{now}$ses_id:{now}%3Bexp-session$_prevpage:{quote(name(draw))}%3Bexp-{now}",
        f"AMCV_{token(draw, 8, 8)}%40AdobeOrg=-1124106680%7CMCIDTS%7C20045%7CMCMID%7C{now}{now}%7CMCAAMLH-{now}%7C6%7CMCOPTOUT-{now}s%7CNONE%7CvVersion%7C5.2.0", f"s_sq=acct%3D%2526c.%2526a.%2526activitymap.%2526page%253D{quote(quote(name(draw)))}%2526link%253D{quote(quote(sentence(draw)))}%2526region%253Dmain%2526.activitymap%2526.a%2526.c", "s_cc=true", f"cto_bundle={token(draw, 60, 90)}", f"_uetsid={token(draw)}|1hx|2|fr{draw.randint(0, 9)}|0|{draw.randint(0, 1999)}",
        f"laravel_session={base64.b64encode(json.dumps({'iv': token(draw), 'value': token(draw, 80, 90), 'mac': token(draw), 'tag': ''}).encode()).decode().replace('=', '%3D')}", f"csrftoken={token(draw, 24, 24)}", "wp-settings-1=libraryContent%3Dbrowse%26editor%3Dtinymce%26posts_list_mode%3Dlist", f"wordpress_logged_in_{token(draw, 16, 16)}=admin%7C{now}%7C{token(draw)}%7C{token(draw)}", f"cart={quote(json.dumps([{'sku': token(draw), 'qty': 2, 'name': sentence(draw)}]))}",
        f"user={quote(json.dumps({'name': person(draw), 'return_to': address(draw)}))}", f"last_search={quote(sentence(draw))}", "recent=1|2|3;4", f'RT="z=1&dm={host(draw)}&si={uid(draw)}&ss=m3n&sl=2&tt=4ab&bcn=%2F%2F02179915.akstat.io%2F&ld=5c"', f"_abck={token(draw, 80, 120)}~0~YAAQ{token(draw)}~-1~||0||~-1", f"optimizelyEndUserId=oeu{now}r0.{now}", "tz=Europe/Berlin", f"__stripe_mid={uid(draw)}{token(draw)}", f"viewed=[{now},{now}]", f"redirect={quote(address(draw), safe='')}",
        f"euconsent-v2={token(draw, 90, 150)}.YAAAAAAAAAAA", f"_pin_unauth={base64.b64encode(b'uid=' + uid(draw).encode()).decode()}", f"datadome={token(draw, 60, 80)}", f"_dd_s=rum=2&id={uid(draw)}&created={now}&expire={now}", f"ab.storage.sessionId.{uid(draw)}=%7B%22g%22%3A%22{uid(draw)}%22%2C%22e%22%3A{now}%2C%22c%22%3A{now}%7D", f"intercom-id-x={uid(draw)}", "has_js=1", f"JSESSIONID=node0{token(draw)}.node0; path=/", f"__utmz=1.{now}.1.1.utmcsr=google|utmccn=(organic)|utmcmd=organic|utmctr=(not%20provided)", f'SID="{token(draw)}"', f"tmp=!{token(draw)}=",
    )  # fmt: skip
    return "; ".join(draw.sample(fields, draw.randint(0, min(most, len(fields)))))


def tracked(draw: random.Random) -> str:
    """Return a query of campaigns and of click identifiers."""
    pairs = {
        "utm_source": draw.choice(("google", "newsletter", "facebook.com")),
        "utm_medium": "cpc",
        "utm_campaign": sentence(draw),
        "utm_term": draw.choice(("+union +select", "men's boots", "{keyword}", "order by phone")),
        "gclid": token(draw, 40, 60),
        "fbclid": f"IwAR{token(draw, 40, 40)}",
        "utm_content": "{{ad.name}}",
        "mc_cid": token(draw),
        "_gl": f"1*{token(draw)}*_ga*{token(draw)}..",
        "ref": address(draw),
        "hsa_kw": "select & drop",
    }
    chosen = draw.sample(sorted(pairs), draw.randint(1, 6))
    return urlencode({key: pairs[key] for key in chosen})


def browser(draw: random.Random, *, site: str = "", fetch: str = "document") -> list[Header]:
    """Return the fields of a browser's request, in its order."""
    here = site or host(draw)
    referer = draw.choice(
        (
            "",
            f"https://{here}/",
            f"https://{here}/{name(draw)}?{tracked(draw)}",
            f"https://www.google.com/search?q={quote(sentence(draw))}&oq=x&sourceid=chrome&ie=UTF-8",
            address(draw),
            f"https://{here}/search?q={quote(prose(draw)[:120])}&page=2",
            f"https://{here}/login?returnUrl={quote(address(draw), safe='')}",
            "android-app://com.google.android.gm/",
        )
    )
    fields = {
        "host": here, "connection": "keep-alive", "sec-ch-ua": '"Chromium";v="126", "Google Chrome";v="126", "Not-A.Brand";v="99"' if draw.random() < 0.5 else '"Not/A)Brand";v="8", " Not;A Brand";v="99"', "sec-ch-ua-mobile": "?0", "sec-ch-ua-platform": '"Windows"', "upgrade-insecure-requests": "1", "user-agent": agent(draw),
        "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7" if fetch == "document" else "*/*", "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate" if fetch == "document" else "cors", "sec-fetch-user": "?1", "sec-fetch-dest": fetch, "accept-encoding": "gzip, deflate, br, zstd", "accept-language": draw.choice(_LANGUAGES), "priority": "u=0, i",
    }  # fmt: skip
    if referer:
        fields["referer"] = referer
    jar = cookies(draw)
    if jar:
        fields["cookie"] = jar
    extra = {
        "if-none-match": f'W/"{token(draw)}"', "if-modified-since": "Mon, 18 Nov 2024 10:21:33 GMT", "cache-control": "max-age=0", "dnt": "1", "x-requested-with": "XMLHttpRequest", "range": "bytes=0-1048575", "traceparent": f"00-{draw.getrandbits(128):032x}-{draw.getrandbits(64):016x}-01", "tracestate": f"dd=s:1;o:rum,{token(draw, 4, 4).lower()}@nr=0-1-1234-5678-{token(draw)}----1", "x-client-data": base64.b64encode(draw.randbytes(24)).decode(), "authorization": f"Bearer {jwt(draw)}", "te": "trailers", "save-data": "on", "x-csrf-token": token(draw, 32, 32),
        "next-router-state-tree": quote(json.dumps(["", {"children": ["(shop)", {"children": [["slug", name(draw), "d"], {"children": ["__PAGE__", {}]}]}]}, None, None, True])), "baggage": f"sentry-environment=production,sentry-release={token(draw)},sentry-trace_id={draw.getrandbits(128):032x},userId={quote(person(draw))}", "newrelic": base64.b64encode(json.dumps({"v": [0, 1], "d": {"ty": "Browser", "ac": "1", "ap": token(draw)}}).encode()).decode(), "x-forwarded-for": f"203.0.113.{draw.randint(1, 254)}, 10.0.0.5", "via": "1.1 google, 1.1 varnish (Varnish/6.0)", "forwarded": 'for=192.0.2.60;proto=https;by="[2001:db8::1]:443"', "x-instana-l": "1,correlationType=web;correlationId=" + token(draw),
        "sentry-trace": f"{draw.getrandbits(128):032x}-{draw.getrandbits(64):016x}-1", "x-amz-date": "20241118T102133Z", "x-datadog-tags": "_dd.p.tid=66e1;_dd.p.dm=-1", "x-apollo-operation-name": name(draw), "x-playback-session-id": uid(draw), "x-device-info": json.dumps({"os": "iOS", "model": "iPhone14,5"}), "if-match": "*", "x-page-url": address(draw), "x-hub-signature-256": f"sha256={draw.getrandbits(256):064x}", "x-user-name": quote(person(draw)),
    }  # fmt: skip
    fields |= {key: extra[key] for key in draw.sample(sorted(extra), draw.randint(0, 5))}
    return [(key.encode(), value.encode()) for key, value in fields.items()]


def program(draw: random.Random) -> list[Header]:
    """Return the fields of a program's request, of an honest robot's among them."""
    fields = {
        "host": host(draw),
        "user-agent": draw.choice(_PROGRAMS),
        "accept": draw.choice(("*/*", "application/json, text/plain, */*", "application/vnd.github+json")),
    }
    extra = {"authorization": draw.choice((f"Bearer {jwt(draw)}", f"Basic {base64.b64encode(f'{name(draw)}:{token(draw)}'.encode()).decode()}", f"AWS4-HMAC-SHA256 Credential=AKIA{token(draw)}/20241118/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature={draw.getrandbits(256):064x}", f'Digest username="{name(draw)}", realm="a b", nonce="{token(draw)}", uri="/x?a=1", qop=auth, nc=00000001', f"token {token(draw)}", f'OAuth oauth_consumer_key="{token(draw)}", oauth_signature="{quote(token(draw))}%3D"')),
             "accept-encoding": "gzip", "connection": "close", "from": "googlebot(at)googlebot.com", "x-request-id": uid(draw), "signature": f'keyId="https://{host(draw)}/users/x#main-key",algorithm="rsa-sha256",headers="(request-target) host date digest",signature="{base64.b64encode(draw.randbytes(64)).decode()}"', "digest": f"SHA-256={base64.b64encode(draw.randbytes(32)).decode()}", "depth": "1", "destination": f"https://{host(draw)}/dav/{quote(person(draw))}.txt", "if": f"(<opaquelocktoken:{uid(draw)}>)", "lock-token": f"<urn:uuid:{uid(draw)}>", "link": f'<https://{host(draw)}/?page=2>; rel="next"', "prefer": 'return=representation,odata.include-annotations="*"'}  # fmt: skip
    fields |= {key: extra[key] for key in draw.sample(sorted(extra), draw.randint(0, 4))}
    return [(key.encode(), value.encode()) for key, value in fields.items()]


def beacon(draw: random.Random) -> str:
    """Return the target of a tracker's GET."""
    now, page, title = (
        draw.randint(1_700_000_000, 1_800_000_000),
        quote(address(draw), safe=""),
        quote(sentence(draw), safe=""),
    )
    return draw.choice((
        f"/g/collect?v=2&tid=G-{token(draw, 6, 6)}&gtm=45je4bd0v9&_p={now}&gcd=13l3l3l3l1l1&npa=0&dma=1&cid={now}.{now}&ul=de-de&sr=1920x1080&uaa=x86&uafvl=Chromium%3B126.0.6478.127%7CNot-A.Brand%3B99.0.0.0&pscdl=noapi&_s=2&dl={page}&dr={page}&dt={title}&en=scroll&epn.percent_scrolled=90&ep.content_group=(not%20set)&_et=5120&pr1=id{token(draw)}~nm{title}~pr9.99~qt1",
        f"/b/ss/acct/1/JS-2.22.0/s{now}?AQB=1&ndh=1&pf=1&t=18%2F10%2F2024%2010%3A21%3A33%201%20-60&ce=UTF-8&g={page}&r={page}&c.&getPercentPageViewed=5.0.1&.c&cc=EUR&events=event1%2Cevent2%3D5&products=%3B{title}%3B1%3B9.99&c1=D%3Dv1&v2=D%3DpageName&h1=a%7Cb%7Cc&s=1920x1080&c.&a.&activitymap.&page={title}&link={title}&region=main&.activitymap&.a&.c&AQE=1",
        f"/tr/?id={now}&ev=PageView&dl={page}&rl=&if=false&ts={now}&cd[content_ids]=%5B%22{name(draw)}%22%5D&cd[value]=9.99&ud[em]={draw.getrandbits(256):064x}&sw=1920&v=2.9.176&r=stable&a=tmgoogletagmanager&o=4126&fbp=fb.1.{now}.{now}&cs_est=true&it={now}&coo=false&rqm=GET",
        f"/activity;src=123;type=invmedia;cat=home0;ord=1;num={now};npa=0;auiddc={now};u1={title};u2={page};ps=1;pcor={now};uaa=x86;gtm=45fe4;~oref={page}?", f"/pixel?google_nid=x&google_hm={token(draw)}&google_redir={page}&gdpr=1&gdpr_consent={token(draw, 60, 99)}", f"/matomo.php?action_name={title}&idsite=1&rec=1&r=1&h=10&m=21&s=33&url={page}&urlref={page}&_id={token(draw)}&pf_net=0&pf_srv=1&cvar=%7B%221%22%3A%5B%22a%22%2C%22b%22%5D%7D&res=1920x1080",
        f"/events/1/{token(draw)}?a=1&v=1.260.1&to={token(draw)}%3D&rst=5120&ck=0&s={token(draw)}&ref={page}&be=120&fe=2000&dc=800&perf=%7B%22timing%22:%7B%22of%22:{now},%22n%22:0%7D,%22navigation%22:%7B%7D%7D&fp=300&jsonp=NREUM.setToken", f"/track/?data={quote(base64.b64encode(json.dumps({'event': sentence(draw), 'properties': {'$current_url': address(draw), '$os': 'Windows', 'title': sentence(draw)}}).encode()).decode(), safe='')}&ip=1&_={now}", f"/i/adsct?bci=3&eci=2&event=%7B%7D&event_id={uid(draw)}&events=%5B%5B%22pageview%22%2Cnull%5D%5D&p_id=Twitter&tw_document_href={page}&tpx_cb=twttr.conversion.loadPixels",
        f"/gampad/ads?pvsid={now}&correlator={now}&eid=31088128%2C31088&output=ldjh&gdfp_req=1&vrg=202411140101&ptt=17&impl=fifs&iu_parts=1%2Chome%2Ctop&enc_prev_ius=%2F0%2F1%2F2&prev_iu_szs=728x90%7C970x250&fluid=height&sc=1&cookie_enabled=1&abxe=1&dt={now}&biw=1905&bih=953&u_his=2&dmc=8&bc=31&nvt=1&url={page}&vis=1&psz=1905x0&msz=970x0&fws=4&ohw=1905&cust_params=sect%3Dnews%26tag%3D{quote(name(draw))}%2C{quote(name(draw))}%26kw%3D{title}",
        f"/v1/pixel?e=click&x=html%3Ediv.main%3Aeq(0)%3Ea%23{quote(name(draw))}&t={title}&callback=jQuery{now}_{now}&_={now}", f"/imp?s=1;c=2;b=3;kv=a:{title};cb={now}?click={page}", f"/collect?v=1&_v=j101&a={now}&t=event&ec={title}&ea=click&el={page}&ev=1&_u=YEBAAEABAAAAACAAI~&jid=&z={now}&cd1={title}&gjid=", f"/jserror?msg={quote('Uncaught TypeError: Cannot read property ' + repr(name(draw)) + ' of null')}&file={page}&line=1&stack={quote('at a.b (' + address(draw) + ':1:2)')}",
    ))  # fmt: skip
