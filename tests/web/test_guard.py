"""The guard: who is let in where, and that what changes something is refused before its body is read."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.lab.door import HTML, OTHER, PORT, TOKEN, Browser, Door, hashed, tokens_file
from tests.lab.path import Daemon, WholePath
from updater.web.guard import Person, safe_next

OPEN = "127.0.0.1:8080"
ELSEWHERE = "0.0.0.0:8080"
ORIGIN = f"http://127.0.0.1:{PORT}"
PROBES = ("/livez", "/readyz", "/metrics")
ACTIONS = ("/api/v1/images/api/hold", "/images/api/hold", "/login", "/logout", "/livez2", "/hooks", "/static/page.css")


@pytest.fixture
def locked(tmp_path: Path) -> Door:
    return Door(listen=ELSEWHERE, login={"tokens": tokens_file(tmp_path)})


# --- without a login -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/images/api", "/api/v1/images", "/openapi.json", "/feed.atom", "/login", "/static/a"]
)
def test_elsewhere_without_a_login_nothing_is_served_but_what_machines_ask(path: str) -> None:
    door = Door(listen=ELSEWHERE)
    for method in ("GET", "POST"):
        answer = door.ask(method, path, {"origin": ORIGIN, "authorization": f"Bearer {TOKEN}"}, b"x")
        assert (answer.status, answer.reads) == (403, 0)
        assert "web.login" in answer.json["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
    assert [door.ask("GET", probe).status for probe in PROBES] == [200, 200, 200]
    assert door.ask("POST", "/hooks/distribution", body=b"x").json["body"] == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("127.8.9.1", 200),
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("localhost.:8080", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("[0:0:0:0:0:0:0:1]:80", 200),
        ("evil.example.com:8080", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("localhost.evil.example.com:8080", 403),
        ("[::2]:8080", 403),
        ("192.168.1.7:8080", 403),
        ("::1", 403),
        ("127.0.0.1@evil.example.com", 403),
        ("evil.example.com/127.0.0.1", 403),
        ("127.0.0.1:99999", 403),
        ("", 403),
    ],
)
def test_on_loopback_another_name_of_this_machine_is_refused(host: str, status: int) -> None:
    """The name of a page elsewhere may be made to lead here: its scripts would read and act."""
    for door in (Door(listen=OPEN), Door(listen="[::1]:8080")):
        answer = door.ask("GET", "/api/v1/images", host=host)
        assert answer.status == status
        assert door.ask("GET", "/livez", host=host).status == 200


def test_on_loopback_the_public_name_is_one_of_this_machine() -> None:
    door = Door(listen=OPEN, public_url="https://updater.example.com")
    assert door.ask("GET", "/", host="updater.example.com").status == 200
    assert door.ask("GET", "/", host="other.example.com").status == 403


def test_on_loopback_whoever_asks_may_act_with_the_token_of_the_page() -> None:
    browser = Browser(Door(listen=OPEN))
    first = browser.get("/").json
    assert (first["person"], first["may_act"]) == ("local", True)
    [name] = browser.jar
    assert name == f"updater-{PORT}"
    assert browser.get("/").json["csrf"] == first["csrf"]
    done = browser.post(f"/images/api/hold?csrf={first['csrf']}", b"reason=x")
    assert (done.status, done.json["body"]) == (200, 8)
    assert browser.post("/api/v1/images/api/hold", **{"x-csrf-token": first["csrf"]}).status == 200


def test_a_query_of_very_many_fields_is_refused_and_no_bug() -> None:
    """It is read before anybody is known, outside of what says a bug as a problem document."""
    answer = Browser(Door(listen=OPEN)).post(f"/api/v1/images/api/hold?{'a=1&' * 150}", b"x", accept="*/*")
    assert (answer.status, answer.reads) == (403, 0)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_cookie_of_this_machine_is_for_us_alone_and_set_once() -> None:
    browser = Browser(Door(listen=OPEN))
    [cookie] = browser.get("/").cookies
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert browser.get("/").cookies == []
    assert Browser(browser.door).door.ask("GET", "/api/v1/images").cookies == []  # a program gets none


def test_a_token_of_another_reader_or_none_is_refused() -> None:
    door = Door(listen=OPEN)
    one, other = Browser(door), Browser(door)
    mine, theirs = one.get("/").json["csrf"], other.get("/").json["csrf"]
    assert mine != theirs
    for token in (theirs, "", mine[:-1], mine + "x", "\u00e9" * 43):
        answer = one.post("/a", b"x", **{"x-csrf-token": token.encode().decode("latin-1")})
        assert (answer.status, answer.reads) == (403, 0)
    bare = door.ask("POST", f"/a?csrf={mine}", {"origin": ORIGIN})
    assert (bare.status, bare.reads) == (403, 0)  # its cookie is missing
    forged = door.ask("POST", f"/a?csrf={mine}", {"origin": ORIGIN, "cookie": f"updater-{PORT}={'A' * 43}"})
    assert forged.status == 403


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example.com"}, {"authorization": f"Bearer {TOKEN}"}])
def test_what_changes_something_is_refused_before_its_body_is_read(
    path: str, method: str, headers: dict[str, str], tmp_path: Path
) -> None:
    doors = (Door(listen=OPEN), Door(listen=OPEN, login={"tokens": tokens_file(tmp_path, f"ada:{hashed(OTHER)}")}))
    for door in doors:
        answer = door.ask(method, path, headers, b"x" * 100)
        assert answer.status in {401, 403}
        assert answer.reads == 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({"origin": ORIGIN}, True),
        ({"origin": ORIGIN, "sec_fetch_site": "same-origin"}, True),
        ({"origin": "", "sec_fetch_site": "same-origin"}, True),
        ({"origin": "", "sec_fetch_site": ""}, False),
        ({"origin": "null"}, False),
        ({"origin": "null", "sec_fetch_site": "same-origin"}, False),
        ({"origin": "http://127.0.0.1:8081"}, False),
        ({"origin": "http://localhost:8080"}, False),
        ({"origin": "http://127.0.0.1:8080.evil.example.com"}, False),
        ({"origin": "http://evil.example.com"}, False),
        ({"origin": ORIGIN, "sec_fetch_site": "cross-site"}, False),
        ({"origin": ORIGIN, "sec_fetch_site": "same-site"}, False),
        ({"origin": "http://[::1"}, False),
    ],
)
def test_the_origin_must_be_ours(headers: dict[str, str], fine: bool) -> None:
    browser = Browser(Door(listen=OPEN))
    csrf = browser.get("/").json["csrf"]
    answer = browser.post(f"/a?csrf={csrf}", b"x", **({"sec_fetch_site": ""} | headers))
    assert answer.status == (200 if fine else 403)
    assert bool(answer.reads) is fine


def test_behind_a_proxy_the_origin_is_that_of_the_public_address(tmp_path: Path) -> None:
    door = Door(listen=ELSEWHERE, public_url="https://updater.example.com", login={"tokens": tokens_file(tmp_path)})
    browser = Browser(door, host="10.0.0.7:8080", origin="https://updater.example.com")
    assert browser.log_in().status == 303
    assert browser.post(f"/a?csrf={browser.session()['csrf']}").status == 200
    browser.origin = "http://updater.example.com"
    assert browser.post(f"/a?csrf={browser.session()['csrf']}").status == 403


# --- with a login ----------------------------------------------------------------------------------------------------


def test_with_a_login_programs_get_401_and_browsers_a_form(locked: Door) -> None:
    for path in ("/", "/api/v1/images", "/openapi.json", "/feed.atom", "/api/v1/stream", "/api/v1/session"):
        answer = locked.ask("GET", path)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    answer = locked.ask("GET", "/images/a%22b?state=held&q=x", HTML)
    assert answer.status == 303
    assert answer.headers["location"] == "/login?next=%2Fimages%2Fa%2522b%3Fstate%3Dheld%26q%3Dx"
    assert [locked.ask("GET", path).status for path in (*PROBES, "/static/page.css", "/login")] == [200] * 5
    assert locked.ask("POST", "/hooks/distribution").status == 200


def test_a_login_token_acts_without_cookies_from_anywhere(locked: Door) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert locked.ask("GET", "/api/v1/images", bearer).json["person"] == "ada"
    done = locked.ask("POST", "/api/v1/images/api/hold", bearer, b"{}")
    assert (done.status, done.json["may_act"], done.json["body"]) == (200, True, 2)
    for wrong in (f"Bearer {TOKEN}x", "Bearer", "Bearer ", f"bearer {OTHER}", "Bearer \u00e9"):
        for method in ("GET", "POST"):
            answer = locked.ask(method, "/api/v1/images", {"authorization": wrong}, b"x")
            assert (answer.status, answer.reads) == (401, 0)
    assert locked.ask("GET", "/api/v1/images", {"authorization": f"Basic {TOKEN}"}).status == 401


def test_a_login_on_loopback_is_asked_for_too(tmp_path: Path) -> None:
    door = Door(listen=OPEN, login={"tokens": tokens_file(tmp_path)})
    assert door.ask("GET", "/api/v1/images").status == 401


def test_who_may_only_look_cannot_act(locked: Door) -> None:
    browser = Browser(locked)
    browser.log_in()
    [session] = locked.guard.sessions._open.values()
    object.__setattr__(session, "person", Person("eve", may_act=False))
    csrf = browser.session()["csrf"]
    answer = browser.post(f"/images/api/hold?csrf={csrf}", b"x")
    assert (answer.status, answer.reads) == (403, 0)
    assert "operators" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    said = browser.post(f"/images/api/hold?csrf={csrf}", accept="application/json")
    assert (said.status, "operators" in said.json["detail"]) == (403, True)
    assert browser.post(f"/logout?csrf={csrf}").status == 303


def test_a_link_on_another_site_leads_to_a_page_that_knows_the_reader(locked: Door) -> None:
    """Browsers keep a strict cookie back where another site leads here; from a page of ours they send it."""
    browser = Browser(locked)
    browser.log_in()
    kept, browser.jar = browser.jar, {}
    hop = browser.get("/images/api?a=1&b=%22", sec_fetch_site="cross-site")
    assert hop.status == 200
    assert 'content="0;url=/login/back?next=%2Fimages%2Fapi%3Fa%3D1%26b%3D%2522"' in hop.text
    browser.jar = kept
    back = browser.get("/login/back?next=%2Fimages%2Fapi%3Fa%3D1%26b%3D%2522", sec_fetch_site="same-origin")
    assert (back.status, back.headers["location"]) == (303, "/images/api?a=1&b=%22")
    assert browser.get("/images/api", sec_fetch_site="same-origin").json["person"] == "ada"


def test_on_loopback_a_link_on_another_site_does_not_take_the_cookie_away() -> None:
    browser = Browser(Door(listen=OPEN))
    browser.get("/")
    fresh = Browser(browser.door).get("/", sec_fetch_site="cross-site")
    assert (fresh.status, fresh.cookies) == (200, [])


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example.com",
        "/\\evil.example.com",
        "https://evil.example.com",
        "",
        None,
        "/a\nb",
        "/login",
        "x",
        "/" * 3000,
    ],
)
def test_a_login_leads_to_pages_of_ours_alone(path: str | None) -> None:
    assert safe_next(path) == "/"


def test_headers_keep_a_page_to_itself_also_on_refusals(locked: Door) -> None:
    for answer in (locked.ask("GET", "/"), locked.ask("GET", "/login", HTML), locked.ask("POST", "/x")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "private" in answer.headers["cache-control"] or answer.headers["cache-control"] == "no-store"


def test_a_websocket_is_refused(locked: Door) -> None:
    assert locked.ask("GET", "/", kind="websocket").json["type"] == "websocket.close"


def test_a_new_configuration_counts_at_once(locked: Door, tmp_path: Path) -> None:
    browser = Browser(locked)
    browser.log_in()
    assert browser.get("/").status == 200
    locked.configure(listen=ELSEWHERE)
    assert browser.get("/").status == 403
    locked.configure(listen=ELSEWHERE, login={"tokens": tokens_file(tmp_path, f"ada:{hashed(OTHER)}")})
    assert browser.get("/").status == 303  # what let them in lets nobody in any more


def test_no_refusal_says_a_secret(locked: Door) -> None:
    canary = "canary-7f3a9c2e51d04b68"
    asked: list[Any] = [
        locked.ask(method, f"/x?csrf={canary}&token={canary}", headers | {"x-csrf-token": canary}, canary.encode())
        for method in ("GET", "POST", "DELETE")
        for headers in (
            {"authorization": f"Bearer {canary}"},
            {"authorization": f"Basic {canary}"},
            {"cookie": f"updater-{PORT}={canary}"},
            {"origin": f"http://{canary}.example.com"},
        )
    ]
    asked.append(Browser(locked).log_in(canary))
    for answer in asked:
        assert canary not in answer.text + str(answer.headers)
        assert answer.status in {401, 403}


def test_a_form_of_a_session_that_is_over_is_answered_with_a_page_that_leads_on(locked: Door) -> None:
    browser = Browser(locked)
    browser.log_in()
    locked.guard.sessions._open.clear()
    answer = browser.post("/images/api/hold?csrf=<script>", b"reason=x")
    assert (answer.status, answer.reads) == (401, 0)
    assert 'href="/"' in answer.text
    assert "<script>" not in answer.text


def test_a_real_server_answers_before_the_body_is_sent(tmp_path: Path) -> None:
    """Ten gigabytes are announced, and none is waited for; nobody is told to go on sending either."""
    with WholePath.embedded(tmp_path) as path:
        path.configure([], [])
        with Daemon(path) as daemon:
            port = urlsplit(daemon.wait("serving")["url"]).port
            assert port
            for more in ("", "Expect: 100-continue\r\n"):
                with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
                    head = f"POST /api/v1/images/api/hold HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
                    wire.sendall(f"{head}Content-Length: 10000000000\r\n{more}\r\n".encode())
                    assert wire.recv(1000).startswith(b"HTTP/1.1 403 ")
            daemon.ask()
            assert daemon.end() == 0
