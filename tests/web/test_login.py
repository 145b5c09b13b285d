"""Logging in and out: by tokens from a file, and by a provider that signs what it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import structlog

from tests.lab.config import rows
from tests.lab.door import OTHER, PORT, TOKEN, Browser, Door, hashed, tokens_file
from tests.lab.provider import CLIENT, SECRET, Forger, Provider
from updater.secrets import redact
from updater.web import login, oidc, sessions, tokens
from updater.web.sessions import LIFE, Person, Sessions, Tries

ELSEWHERE = "0.0.0.0:8080"
PUBLIC = "https://updater.example.com"
SECRET_NAME = "LAB_PROVIDER_SECRET"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(listen=ELSEWHERE, login={"tokens": tokens_file(tmp_path)})


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_becomes_a_session_and_logout_ends_it(door: Door) -> None:
    browser = Browser(door)
    assert 'name="token"' in browser.get("/login?next=/images/api").text
    answer = browser.log_in(to="/images/api?a=1")
    assert (answer.status, answer.headers["location"]) == (303, "/images/api?a=1")
    [cookie] = answer.cookies
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert TOKEN not in str(answer.headers)
    session = browser.session()
    assert (session["person"], session["may_act"]) == ("ada", True)
    assert browser.get("/login").headers["location"] == "/"
    assert browser.post(f"/api/v1/images/api/check?csrf={session['csrf']}").json["person"] == "ada"

    assert browser.post("/logout").status == 403  # another site could log people out
    kept = dict(browser.jar)
    assert browser.post(f"/logout?csrf={session['csrf']}").headers["location"] == "/login"
    assert browser.jar == {}
    browser.jar = kept
    assert browser.get("/").status == 303
    assert browser.post(f"/api/v1/images/api/check?csrf={session['csrf']}").status == 401


def test_with_a_public_address_over_tls_the_cookie_never_goes_without(tmp_path: Path) -> None:
    door = Door(listen=ELSEWHERE, public_url=PUBLIC, login={"tokens": tokens_file(tmp_path)})
    browser = Browser(door, host="updater.example.com", origin=PUBLIC)
    [cookie] = browser.log_in().cookies
    assert cookie.startswith("__Host-updater=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_who_logs_in_again_gets_another_session_and_the_old_one_ends(door: Door) -> None:
    browser = Browser(door)
    browser.log_in()
    old = dict(browser.jar)
    browser.log_in()
    assert browser.jar != old
    assert Browser(door, jar=old).get("/").status == 303


def test_a_wrong_token_says_so_and_soon_has_to_wait(door: Door) -> None:
    clock = Clock()
    door.guard.tries = Tries(clock)
    browser = Browser(door, client="10.0.0.9")
    for _ in range(sessions.FREE_TRIES):
        answer = browser.log_in(OTHER)
        assert (answer.status, answer.cookies) == (401, [])
        assert "lets nobody in" in answer.text
        assert OTHER not in answer.text
    slow = browser.log_in()  # even the right one: else guessing went on
    assert (slow.status, slow.headers["retry-after"], slow.reads) == (429, "1", 0)
    assert Browser(door, client="10.0.0.8").log_in().status == 303
    clock.now += 1
    assert browser.log_in(OTHER).status == 401
    assert browser.log_in(OTHER).headers["retry-after"] == "2"
    clock.now += sessions.LONGEST_WAIT
    assert browser.log_in().status == 303
    assert browser.log_in(OTHER).status == 401  # counted from the beginning


def test_the_wait_has_an_end_and_the_table_a_bound() -> None:
    clock = Clock()
    tries = Tries(clock)
    for _ in range(5000):
        tries.failed("10.0.0.1")
    assert tries.wait("10.0.0.1") == sessions.LONGEST_WAIT
    for number in range(5000):
        tries.failed(f"10.1.{number // 256}.{number % 256}")
    assert len(tries._failed) == sessions.MAX_ADDRESSES
    clock.now += sessions.FORGOTTEN + 1
    assert tries.wait("10.1.19.135") == 0


def test_one_network_of_long_addresses_is_one_who_tries(door: Door) -> None:
    for number in range(sessions.FREE_TRIES):
        Browser(door, client=f"2001:db8::{number:x}").log_in(OTHER)
    assert Browser(door, client="2001:db8::ffff").log_in().status == 429
    assert Browser(door, client="2001:db8:0:1::1").log_in().status == 303


def test_a_form_that_is_too_large_or_broken_is_refused(door: Door) -> None:
    browser = Browser(door)
    assert browser.post("/login", b"token=" + b"x" * 10_000).status == 413
    assert browser.post("/login", b"&".join([b"a=1"] * 100)).status == 400
    assert browser.post("/login", b"token=\xff").status == 400
    assert browser.post("/login", b"").status == 401
    assert browser.post("/login", b"token=" + TOKEN.encode(), origin="https://evil.example.com").status == 403
    assert browser.post("/login", b"token=" + TOKEN.encode(), origin="", sec_fetch_site="").status == 403


def test_what_is_shown_again_is_escaped(door: Door) -> None:
    answer = Browser(door).get("/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in answer.text
    assert "&#34;&gt;&lt;script" in answer.text


def test_the_page_speaks_chinese_to_who_reads_it(door: Door) -> None:
    assert "登录" in Browser(door).get("/login", accept_language="zh-CN,zh;q=0.9").text


def test_sessions_end_by_themselves_and_are_not_without_number() -> None:
    clock = Clock()
    kept = Sessions(clock)
    first = kept.open(Person("ada", may_act=True), "proof")
    assert kept.find(first) is not None
    clock.now += LIFE
    assert kept.find(first) is None
    names = [kept.open(Person("ada", may_act=True), "proof") for _ in range(sessions.MOST + 10)]
    assert [kept.find(names[0]), kept.find(names[9])] == [None, None]
    assert None not in {kept.find(names[10]), kept.find(names[-1])}
    assert kept.find(None) is kept.find("") is kept.find("x" * 43) is None


def test_the_file_is_read_again_when_it_changes(door: Door, tmp_path: Path) -> None:
    browser, file = Browser(door), tmp_path / "tokens"
    browser.log_in()
    other = {"authorization": f"Bearer {OTHER}"}
    assert door.ask("GET", "/", other).status == 401
    with file.open("a") as more:
        more.write(f"bob:{hashed(OTHER).upper()}\n")
    assert door.ask("GET", "/", other).json["person"] == "bob"
    assert browser.get("/").json["person"] == "ada"
    new = tmp_path / "new"
    new.write_text(f"bob:{hashed(OTHER)}\n")
    os.replace(new, file)  # noqa: PTH105 - as mounted secrets are
    assert browser.get("/").status == 303  # and a session ends with the token that opened it
    file.unlink()
    assert door.ask("GET", "/", other).status == 401


def test_bad_lines_are_named_by_number_alone(door: Door, tmp_path: Path) -> None:
    canary = "canary-4b1d8e6f2a907c35"
    lines = [
        "# people",
        "",
        f"ada:{hashed(TOKEN)}",
        canary,
        f"bob:{canary}",
        f":{hashed(OTHER)}",
        f"carl:{hashed(OTHER)}x",
    ]
    tokens_file(tmp_path, *lines)
    with structlog.testing.capture_logs() as logged:
        assert door.ask("GET", "/", {"authorization": f"Bearer {TOKEN}"}).json["person"] == "ada"
        assert door.ask("GET", "/", {"authorization": f"Bearer {OTHER}"}).status == 401
    [said] = logged
    assert (said["event"], said["lines"]) == ("login_tokens_ignored", "4, 5, 6, 7")
    assert canary not in str(said)


def test_a_missing_file_lets_nobody_in_and_is_said_once(tmp_path: Path) -> None:
    door = Door(listen=ELSEWHERE, login={"tokens": f"file:{tmp_path}/none"})
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            assert door.ask("GET", "/", {"authorization": f"Bearer {TOKEN}"}).status == 401
    assert [one["event"] for one in logged] == ["login_tokens_not_read"]


def test_a_short_token_lets_nobody_in_whatever_the_file_says(door: Door, tmp_path: Path) -> None:
    """There is no default password, and none that a person made up."""
    tokens_file(tmp_path, *(f"{word}:{hashed(word)}" for word in ("admin", "password", "x" * (tokens.SHORTEST - 1))))
    with structlog.testing.capture_logs() as logged:
        for word in ("admin", "password", "x" * (tokens.SHORTEST - 1), ""):
            assert door.ask("GET", "/", {"authorization": f"Bearer {word}"}).status == 401
    assert {one["event"] for one in logged} == {"login_token_too_short"}


def test_names_of_the_file_are_made_harmless() -> None:
    known, bad = tokens.parse(f"\ufeff  ada \x1b[31m:{hashed(TOKEN)}\r\nb" + ":" + hashed(OTHER) + "\n" + "x\n" * 3)
    assert (known, bad) == ((("ada [31m", hashed(TOKEN)), ("b", hashed(OTHER))), [3, 4, 5])


# --- a provider ------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv(SECRET_NAME, SECRET)
    with Provider() as running:
        yield running


def behind(provider: Provider, **more: Any) -> Door:
    settings = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": f"env:{SECRET_NAME}"} | more
    return Door(listen=ELSEWHERE, public_url=PUBLIC, login={"oidc": settings})


def at(door: Door) -> Browser:
    return Browser(door, host="updater.example.com", origin=PUBLIC)


def come_back(browser: Browser, provider: Provider, to: str = "/images/api") -> Any:
    """Go to the provider, log in there, and return what the browser is shown when it comes back."""
    left = browser.get(f"/login/oidc?next={to}")
    assert left.status == 303
    back = urlsplit(provider.log_in(left.headers["location"]))
    assert f"{back.scheme}://{back.netloc}{back.path}" == f"{PUBLIC}/login/callback"
    return browser.get(f"{back.path}?{back.query}", sec_fetch_site="cross-site")


def test_a_provider_lets_its_people_in(provider: Provider) -> None:
    browser = at(behind(provider, operators=["platform"]))
    page = browser.get("/login")
    assert 'href="/login/oidc?next=/' in page.text
    assert 'name="token"' not in page.text
    shown = come_back(browser, provider)
    assert (shown.status, 'content="0;url=/images/api"' in shown.text) == (200, True)
    assert list(browser.jar) == ["__Host-updater"]  # the cookie of the way there is gone
    session = browser.session()
    assert (session["person"], session["may_act"]) == ("grace", True)
    assert browser.post(f"/images/api/hold?csrf={session['csrf']}").status == 200
    assert SECRET not in redact(f"{CLIENT}:{SECRET}")


def test_the_cookie_of_the_way_there_is_short_lived_and_the_only_lax_one(provider: Provider) -> None:
    browser = at(behind(provider))
    [kept] = browser.get("/login/oidc").cookies
    assert {"HttpOnly", "SameSite=Lax", "Secure", "Max-Age=600"} <= set(kept.split("; "))
    provider_answer = urlsplit(provider.log_in(browser.get("/login/oidc").headers["location"]))
    cookies = browser.get(f"{provider_answer.path}?{provider_answer.query}").cookies
    assert sorted("SameSite=Lax" in one for one in cookies) == [False, True]
    assert [one for one in cookies if "SameSite=Lax" in one and "Max-Age=0" in one]


def test_who_is_in_no_group_of_operators_may_look(provider: Provider) -> None:
    provider.claims["groups"] = ["dev"]
    browser = at(behind(provider, operators=["platform", "admins"]))
    come_back(browser, provider)
    session = browser.session()
    assert session["may_act"] is False
    answer = browser.post(f"/images/api/hold?csrf={session['csrf']}")
    assert (answer.status, answer.reads) == (403, 0)


@pytest.mark.parametrize("groups", [None, 7, {}, [["platform"]], [{"a": 1}], "dev", ["platform-x"], ["PLATFORM"]])
def test_odd_groups_are_none(provider: Provider, groups: object) -> None:
    provider.claims["groups"] = groups
    browser = at(behind(provider, operators=["platform"]))
    answer = come_back(browser, provider)
    assert answer.status == 401 or browser.session()["may_act"] is False


def test_groups_may_stand_elsewhere_and_in_a_claim_of_another_name(provider: Provider) -> None:
    del provider.claims["groups"]
    provider.userinfo = {"sub": "u-1", "roles": "platform"}
    browser = at(behind(provider, operators=["platform"], groups_claim="roles"))
    come_back(browser, provider)
    assert browser.session()["may_act"] is True
    provider.userinfo["sub"] = "u-2"
    other = at(browser.door)
    assert come_back(other, provider).status == 401
    assert other.get("/").status == 303


def test_other_operators_end_the_sessions_of_before(provider: Provider) -> None:
    door = behind(provider)
    browser = at(door)
    come_back(browser, provider)
    assert browser.get("/").status == 200
    door.desk.settings.web = behind(provider, operators=["platform"]).desk.settings.web
    assert browser.get("/").status == 303


def _unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", algorithm="none")


def _symmetric(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, SECRET.ljust(32, "x"), algorithm="HS256", headers={"kid": "first"})


SPOILT: dict[str, Callable[[dict[str, Any]], object]] = {
    "another issuer": lambda claims: claims.update(iss="https://evil.example.com"),
    "for another client": lambda claims: claims.update(aud="other"),
    "for another, and asked by this one": lambda claims: claims.update(aud="other", azp=CLIENT),
    "for two, and meant for the other": lambda claims: claims.update(aud=[CLIENT, "other"], azp="other"),
    "over": lambda claims: claims.update(exp=claims["exp"] - 3600, iat=claims["iat"] - 3600),
    "without an end": lambda claims: claims.pop("exp"),
    "not begun": lambda claims: claims.update(nbf=claims["iat"] + 3600),
    "another nonce": lambda claims: claims.update(nonce="x" * 43),
    "no nonce": lambda claims: claims.pop("nonce"),
    "nobody": lambda claims: claims.pop("sub"),
    "of another token": lambda claims: claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
}


@pytest.mark.parametrize("how", [*SPOILT, "forged", "unsigned", "symmetric", "no token", "noise"])
def test_what_is_not_the_providers_word_lets_nobody_in(provider: Provider, how: str) -> None:
    signs: dict[str, Any] = {
        "forged": Forger(provider), "unsigned": _unsigned, "symmetric": _symmetric,
        "no token": lambda _claims: None, "noise": lambda _claims: "a.b.c",
    }  # fmt: skip
    provider.spoil = SPOILT.get(how, provider.spoil)
    provider.sign = signs.get(how, provider.sign)
    browser = at(behind(provider))
    answer = come_back(browser, provider)
    assert answer.status == 401
    assert browser.jar == {}
    assert browser.get("/").status == 303
    assert SECRET not in answer.text


def test_a_new_key_of_the_provider_is_fetched_and_not_for_every_forgery(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = behind(provider)
    assert come_back(at(door), provider).status == 200
    monkeypatch.setattr(oidc, "KEYS_AGAIN", -1.0)
    provider.turn_key()
    assert come_back(at(door), provider).status == 200
    monkeypatch.setattr(oidc, "KEYS_AGAIN", 3600.0)
    provider.turn_key()
    before = provider.asked.count("/keys")
    assert come_back(at(door), provider).status == 401
    assert provider.asked.count("/keys") == before


def test_a_login_that_took_too_long_is_begun_again(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "UNDER_WAY", -1.0)
    browser = at(behind(provider))
    back = urlsplit(provider.log_in(browser.door.ask("GET", "/login/oidc").headers["location"]))
    [cookie] = browser.door.ask("GET", "/login/oidc").cookies
    name, _, rest = cookie.partition("=")
    browser.jar[name] = rest.partition(";")[0]
    answer = browser.get(f"{back.path}?{back.query}")
    assert answer.status == 401
    assert "too long ago" in answer.text


@pytest.mark.parametrize("change", ["state", "cookie", "no cookie", "code", "error", "iss", "twice", "another browser"])
def test_an_answer_that_was_not_asked_for_lets_nobody_in(provider: Provider, change: str) -> None:
    door = behind(provider)
    browser, other = at(door), at(door)
    back = urlsplit(provider.log_in(browser.get("/login/oidc").headers["location"]))
    url = f"{back.path}?{back.query}"
    if change == "state":
        url = url.replace("state=", "state=x")
    elif change == "code":
        url = url.replace("code=", "code=x")
    elif change == "error":
        url += "&error=access_denied%1b[31m%3Cscript%3E"
    elif change == "iss":
        url += "&iss=https://evil.example.com"
    elif change == "cookie":
        browser.jar = {name: "x" + value for name, value in browser.jar.items()}
    elif change == "no cookie":
        browser.jar = {}
    elif change == "twice":
        kept = dict(browser.jar)
        browser.get(url)
        browser.jar = kept
    elif change == "another browser":
        other.get("/login/oidc")
        browser = other
    answer = browser.get(url, sec_fetch_site="cross-site")
    assert answer.status == 401
    assert not [one for one in answer.cookies if "SameSite=Strict" in one]
    assert "\x1b" not in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example.com"},
        {"token_endpoint": "http://evil.example.com/token"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"token_endpoint": "http://127.0.0.1@evil.example.com/"},
    ],
)
def test_a_provider_that_describes_itself_oddly_is_not_followed(provider: Provider, metadata: dict[str, Any]) -> None:
    provider.metadata = metadata
    answer = at(behind(provider)).get("/login/oidc")
    assert (answer.status, answer.cookies) == (401, [])


def test_a_provider_that_is_away_is_said_in_words(provider: Provider) -> None:
    door = behind(provider, issuer="http://127.0.0.1:1")
    answer = at(door).get("/login/oidc")
    assert answer.status == 401
    assert "127.0.0.1:1" in answer.text


def test_a_secret_that_is_missing_or_wrong_is_said_without_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET_NAME)
    assert SECRET_NAME in at(behind(provider)).get("/login/oidc").text
    monkeypatch.setenv(SECRET_NAME, "wrong-s3cret-canary")
    answer = come_back(at(behind(provider)), provider)
    assert answer.status == 401
    assert "invalid_client" in answer.text
    assert "canary" not in answer.text


def test_long_and_odd_names_are_made_short_and_plain(provider: Provider) -> None:
    provider.claims["preferred_username"] = "eve\x1b[31m\u202e" + "x" * 5000
    browser = at(behind(provider))
    come_back(browser, provider)
    name = browser.session()["person"]
    assert name.startswith("eve[31mx")
    assert len(name) == 100


# --- the configuration -----------------------------------------------------------------------------------------------

OIDC = "{issuer: 'https://login.example.com', client_id: a, client_secret: 'env:A'}"


@pytest.mark.parametrize(
    ("web", "where"),
    [
        (f"{{login: {{oidc: {OIDC}}}}}", "web"),
        (f"{{public_url: '{PUBLIC}', login: {{oidc: {OIDC.replace('https', 'http')}}}}}", "web.login.oidc.issuer"),
        ("{login: {}}", "web.login"),
        ("{login: {tokens: 'secret-in-the-file'}}", "web.login.tokens"),
    ],
)
def test_a_login_that_cannot_work_is_a_mistake_with_its_place(tmp_path: Path, web: str, where: str) -> None:
    [(place, found, _)] = rows(tmp_path, f"images: []\nweb: {web}\n")
    assert place.startswith("updater.yaml:2:")
    assert where in place
    assert "secret-in-the-file" not in found


def test_a_missing_package_is_a_mistake_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    [(place, _, expected)] = rows(tmp_path, f"images: []\nweb: {{public_url: '{PUBLIC}', login: {{oidc: {OIDC}}}}}\n")
    assert "web.login.oidc" in place
    assert "updater[oidc]" in expected


def test_authlib_is_loaded_where_a_provider_is_asked_alone() -> None:
    import subprocess
    import sys

    code = "import sys, updater.web.login; sys.exit('authlib' in sys.modules or 'joserfc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_port_of_a_door_is_that_of_its_cookie() -> None:
    assert Browser(Door(listen=f"127.0.0.1:{PORT}")).get("/").cookies[0].startswith(f"updater-{PORT}=")
