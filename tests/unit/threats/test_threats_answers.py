import shutil
import subprocess
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from seawall.systems.threats.answers import answer_of
from seawall.systems.threats.model import Action
from seawall.systems.threats.ruling import CHALLENGE_PATH, Ruling


def test_a_refusal_tells_an_id_and_nothing_else():
    answer = answer_of(Ruling(action=Action.BLOCK, why="inspection", event="e-1"), "r-1")
    body = msgspec.json.decode(answer.body)
    assert answer.status == body["status"] == 403
    assert body["code"] == "request-blocked"
    assert (body["event"], body["request_id"]) == ("e-1", "r-1")
    assert dict(answer.fields)[b"content-length"] == b"%d" % len(answer.body)
    assert b"no-store" in dict(answer.fields).values()


@pytest.mark.parametrize("why", ["banned", "listed", "inspection"])
def test_who_is_refused_for_whatever_reason_is_told_the_same(why):
    assert answer_of(Ruling(action=Action.BLOCK, why=why)) == answer_of(Ruling(action=Action.BLOCK, why="inspection"))


def test_in_a_flood_a_client_is_told_when_to_come_back():
    answer = answer_of(Ruling(action=Action.BLOCK, why="flood", wait=0.2))
    assert answer.status == 429
    assert dict(answer.fields)[b"retry-after"] == b"1"


def test_a_forged_request_and_a_wrong_solution_have_codes_of_their_own():
    codes = {
        msgspec.json.decode(answer_of(Ruling(action=Action.BLOCK, why=why)).body)["code"]
        for why in ("csrf", "unsolved", "inspection")
    }
    assert codes == {"cross-site-request", "challenge-unsolved", "request-blocked"}


def test_a_program_is_told_of_a_challenge_in_json_and_a_browser_gets_the_page():
    ruling = Ruling(action=Action.CHALLENGE, why="challenged", challenge="abc", bits=12, event="e-1")
    program = answer_of(ruling, wants_page=False)
    assert msgspec.json.decode(program.body)["code"] == "challenged"
    page = answer_of(ruling)
    assert page.status == 403
    assert b'challenge = "abc", bits = 12' in page.body
    assert b"@" not in page.body.replace(b"@media", b"")
    assert b"http" not in page.body.lower().replace(b"without https", b""), "nothing is asked of third parties"


def test_a_solution_earns_a_cookie_that_scripts_cannot_read():
    ruling = Ruling(action=Action.BLOCK, why="redeemed", cookie="c")
    assert dict(answer_of(ruling).fields)[b"set-cookie"].startswith(b"seawall_pass=c; ")
    assert b"HttpOnly" in dict(answer_of(ruling).fields)[b"set-cookie"]
    assert b"; Secure" in dict(answer_of(ruling, secure=True).fields)[b"set-cookie"]


def test_a_real_browser_solves_the_page_by_itself(tmp_path):
    browser = shutil.which("chromium")
    assert browser is not None, "chromium is not installed: apt-get install -y chromium"
    challenge, bits = "a-challenge_of-letters", 10
    solutions = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            if solutions:
                body, fields = b"<title>in</title>welcome", ()
            else:
                answer = answer_of(Ruling(action=Action.CHALLENGE, why="challenged", challenge=challenge, bits=bits))
                body, fields = answer.body, answer.fields
            self.send_response(200)
            for name, value in fields or ((b"content-type", b"text/html"), (b"content-length", b"%d" % len(body))):
                self.send_header(name.decode(), value.decode())
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            parts = urlsplit(self.path)
            given = parse_qs(parts.query)
            if parts.path.encode() == CHALLENGE_PATH and given["challenge"] == [challenge]:
                solutions.append(given["solution"][0])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        shown = subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=20000",
                f"--user-data-dir={tmp_path}",
                "--dump-dom",
                f"http://127.0.0.1:{server.server_port}/",
            ],
            capture_output=True,
            timeout=60,
            check=False,
        ).stdout
    finally:
        server.shutdown()
        server.server_close()
    assert solutions, shown[-500:]
    digest = sha256(f"{challenge}:{solutions[0]}".encode()).digest()
    assert int.from_bytes(digest, "big") >> (256 - bits) == 0
