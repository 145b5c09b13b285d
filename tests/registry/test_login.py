"""Who gets to see the credentials, and how often a token is fetched."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
import respx

from tests.lab.registry import Given
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.errors import RegistryError
from updater.plugins import members
from updater.registry.client import LoginRefused, Registry
from updater.registry.credentials.base import Credentials
from updater.registry.credentials.basic import Basic
from updater.secrets import SecretRef, redact
from updater.transport.http import Http

LOGIN = ("ci", "canary-password")
BASIC = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
TAGS = {"name": "team/app", "tags": ["1"]}


@dataclass
class World:
    """Every host of the internet in one function: registries that want a token, and realms that give one."""

    realm: str
    scope: str = ""
    token: str = "the-token"
    seen: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if "/v2/" not in request.url.path:
            return httpx.Response(200, json={"token": self.token, "expires_in": 300})
        if request.headers.get("authorization") == f"Bearer {self.token}":
            return httpx.Response(200, json=TAGS)
        scope = f',scope="{self.scope}"' if self.scope else ""
        return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{self.realm}",service="s"{scope}'})

    def ask(self, host: str, **options: object) -> Registry:
        given: dict[str, object] = {"credentials": Given(pair=LOGIN)} | options
        registry = Registry(host, http=Http(transport=httpx.MockTransport(self)), **given)  # type: ignore[arg-type]
        assert registry.tags("team/app").names == ("1",)
        return registry

    @property
    def realm_requests(self) -> list[httpx.Request]:
        return [request for request in self.seen if "/v2/" not in request.url.path]


@pytest.mark.parametrize(
    ("host", "realm", "trusted"),
    [
        pytest.param("registry.example.com", "https://registry.example.com/token", [], id="its own host"),
        pytest.param("registry.example.com", "https://REGISTRY.example.com:443/token", [], id="spelled otherwise"),
        pytest.param("registry.example.com:5000", "https://registry.example.com:5000/token", [], id="its own port"),
        pytest.param("docker.io", "https://auth.docker.io/token", [], id="Docker Hub"),
        pytest.param("registry.gitlab.com", "https://gitlab.com/jwt/auth", [], id="GitLab"),
        pytest.param("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", [],
                     id="Alibaba, same region"),
        pytest.param("registry.example.com", "https://auth.example.com/token", ["auth.example.com"], id="trusted"),
        pytest.param("registry.example.com", "https://auth.example.com:8443/t", ["https://auth.example.com:8443"],
                     id="trusted with scheme and port"),
    ],
)  # fmt: skip
def test_realms_that_belong_to_the_registry_get_the_login(host: str, realm: str, trusted: list[str]) -> None:
    world = World(realm)
    registry = world.ask(host, trusted_realms=trusted)
    assert [request.headers.get("authorization") for request in world.realm_requests] == [BASIC]
    assert registry.untrusted_realms == ()


@pytest.mark.parametrize(
    ("host", "realm", "trusted"),
    [
        pytest.param("registry.example.com", "https://evil.example.org/token", [], id="another host"),
        pytest.param("registry.example.com", "https://registry.example.com:8443/token", [], id="another port"),
        pytest.param("registry.example.com", "https://registry.example.com.evil.org/t", [], id="its name as a prefix"),
        pytest.param("registry.example.com", "https://evilregistry.example.com/t", [], id="its name as an end"),
        pytest.param("docker.io.evil.org", "https://auth.docker.io/token", [], id="Docker Hub's name as a prefix"),
        pytest.param("docker.io", "https://auth.docker.io.evil.org/token", [], id="its realm's name as a prefix"),
        pytest.param("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-beijing.aliyuncs.com/auth", [],
                     id="another region"),
        pytest.param("registry.example.com", "https://auth.example.com/t", ["example.com"], id="a domain alone"),
        pytest.param("registry.example.com", "https://auth.example.com:8443/t", ["auth.example.com"], id="other port"),
    ],
)  # fmt: skip
def test_any_other_realm_is_asked_for_an_anonymous_token_and_reported(
    host: str, realm: str, trusted: list[str]
) -> None:
    world = World(realm)
    registry = world.ask(host, trusted_realms=trusted)
    assert [request.headers.get("authorization") for request in world.realm_requests] == [None]
    assert len(registry.untrusted_realms) == 1
    assert registry.untrusted_realms[0] in realm


def test_a_realm_that_a_registry_named_once_is_not_blamed_when_it_names_its_own() -> None:
    world = World("https://evil.example.org/token")
    registry = world.ask("registry.example.com")
    assert registry.untrusted_realms == ("evil.example.org",)
    world.realm, world.token = "https://registry.example.com/token", "another-token"
    assert registry.tags("team/app").names == ("1",)
    assert list(registry.untrusted_realms) == []


def test_a_mirror_does_not_inherit_the_realms_that_are_known_for_the_host() -> None:
    world = World("https://auth.docker.io/token")
    registry = world.ask("docker.io", endpoint="https://mirror.example.com")
    assert world.realm_requests[0].headers.get("authorization") is None
    assert registry.untrusted_realms == ("auth.docker.io",)


@pytest.mark.parametrize(
    "realm",
    ["http://registry.example.com/token", "ftp://registry.example.com:21/", "https://a:b@registry.example.com/",
     "token", "", "https://[", "https://registry.example.com:99999/", "https://registry.example.com:0/"],
)  # fmt: skip
def test_a_realm_without_tls_or_without_sense_is_never_asked(realm: str) -> None:
    world = World(realm)
    with pytest.raises(RegistryError, match=r"token service|refused access"):
        world.ask("registry.example.com")
    assert world.realm_requests == []


@pytest.mark.parametrize(
    ("realm", "wanted", "asked"),
    [
        ("https://registry.example.com/t", "", "repository:team/app:pull"),
        (
            "https://registry.example.com/t",
            "repository:team/app:pull,metadata_read",
            "repository:team/app:pull,metadata_read",
        ),
        ("https://registry.example.com/t", "repository:key/team/app:pull", "repository:key/team/app:pull"),
        ("https://registry.example.com/t", "repository:team/app:pull,push,delete,*", "repository:team/app:pull"),
        ("https://registry.example.com/t", "registry:catalog:*", "repository:team/app:pull"),
        ("https://auth.example.com/t", "repository:team/app:pull", "repository:team/app:pull"),
        ("https://auth.example.com/t", "repository:victim/private:pull,push", "repository:team/app:pull"),
        (
            "https://auth.example.com/x://registry.example.com/t",
            "repository:victim/private:pull",
            "repository:team/app:pull",
        ),
    ],
)
def test_the_scope_is_what_the_registry_wants_within_reading_this_repository(
    realm: str, wanted: str, asked: str
) -> None:
    world = World(realm, scope=wanted)
    world.ask("registry.example.com", trusted_realms=["auth.example.com"])
    assert parse_qs(world.realm_requests[0].url.query.decode()) == {"service": ["s"], "scope": [asked]}


def test_docker_hub_is_asked_at_its_api_for_the_whole_list_at_once() -> None:
    world = World("https://auth.docker.io/token")
    world.ask("docker.io", credentials=None)
    assert str(world.seen[0].url) == "https://registry-1.docker.io/v2/team/app/tags/list"


def test_no_login_is_sent_before_the_registry_asks_for_one() -> None:
    world = respx.MockRouter()
    lists = world.get("https://registry.example.com/v2/team/app/tags/list")
    lists.respond(json=TAGS, headers={"Set-Cookie": "a=b; Path=/"})
    registry = Registry(
        "registry.example.com", http=Http(transport=httpx.MockTransport(world.handler)), credentials=Given(pair=LOGIN)
    )
    registry.tags("team/app")
    registry.tags("team/app")
    seen = [call.request for call in world.calls]
    assert len(seen) == lists.call_count == 2, "an open registry costs one request a list"
    assert all("authorization" not in request.headers and "cookie" not in request.headers for request in seen)


# --- how often ------------------------------------------------------------------------------------------------------


class Service:
    """A registry with its own token service, over real connections; it counts the tokens."""

    def __init__(self, **token: object) -> None:
        self.token = token
        self.given = count(1)
        self.valid: set[str] = set()
        self.refuse = 401
        self.lying = False
        self.delay = 0.0
        self.server = Scripted(self.answer)

    def answer(self, asked: Asked) -> Answered:
        if asked.path == "/token":
            self.server.stopped.wait(self.delay)
            name = f"t{next(self.given)}"
            if not self.lying:
                self.valid.add(name)
            return reply(200, {"token": name} | self.token)
        if asked.headers.get("authorization", "").removeprefix("Bearer ") in self.valid:
            return reply(200, TAGS)
        challenge = ("WWW-Authenticate", f'Bearer realm="{self.server.url}/token",service="s"')
        with_token = "authorization" in asked.headers
        return reply(self.refuse, {}) if with_token and self.refuse != 401 else reply(401, {}, challenge)

    @property
    def targets(self) -> list[str]:
        return [asked.path for asked in self.server.requests]


def test_a_token_is_used_until_it_ends_and_then_renewed_before_it_is_refused() -> None:
    now = [1000.0]
    service = Service(expires_in=300)
    with service.server, Http() as http:
        registry = Registry(service.server.host, http=http, insecure=True, clock=lambda: now[0])
        for seconds, tokens in ((0, 1), (200, 1), (69, 1), (2, 2), (268, 2)):
            now[0] += seconds
            before = len(service.targets)
            registry.tags("team/app")
            assert service.targets.count("/token") == tokens
            assert len(service.targets) - before == (3 if before == 0 else 1 if seconds != 2 else 2)


@pytest.mark.parametrize("life", [None, 5, -1, 0, "300", 1.5, True, 10**30])
def test_a_life_that_is_short_or_senseless_counts_as_sixty_seconds_or_what_it_may_be_at_most(life: object) -> None:
    now = [1000.0]
    service = Service(**({} if life is None else {"expires_in": life}))
    with service.server, Http() as http:
        registry = Registry(service.server.host, http=http, insecure=True, clock=lambda: now[0])
        registry.tags("team/app")
        now[0] += 40
        registry.tags("team/app")
        assert service.targets.count("/token") == 1
        now[0] += 90_000
        registry.tags("team/app")
        assert service.targets.count("/token") == 2


@pytest.mark.parametrize("status", [401, 400, 403])
def test_a_cached_token_that_is_refused_is_renewed_once(status: int) -> None:
    service = Service(expires_in=3600)
    with service.server, Http() as http:
        registry = Registry(service.server.host, http=http, insecure=True)
        registry.tags("team/app")
        service.valid.clear()
        service.refuse = status
        assert registry.tags("team/app").names == ("1",)
        assert service.targets.count("/token") == 2


def test_a_renewed_token_that_is_refused_too_is_an_error_and_no_loop() -> None:
    service = Service(expires_in=3600)
    service.lying = True
    with service.server, Http() as http:
        registry = Registry(service.server.host, http=http, insecure=True)
        with pytest.raises(LoginRefused):
            registry.tags("team/app")
        assert service.targets.count("/token") == 1


def test_many_threads_that_need_one_token_fetch_it_once() -> None:
    service = Service(expires_in=300)
    service.delay = 0.1
    with service.server, Http() as http, ThreadPoolExecutor(8) as pool:
        registry = Registry(service.server.host, http=http, insecure=True, concurrency=8)
        listings = list(pool.map(lambda _: registry.tags("team/app").names, range(16)))
        assert listings == [("1",)] * 16
        assert service.targets.count("/token") == 1


def test_once_the_challenge_is_known_another_repository_costs_one_token_and_one_request() -> None:
    service = Service(expires_in=300)
    with service.server, Http() as http:
        registry = Registry(service.server.host, http=http, insecure=True)
        registry.tags("team/app")
        before = len(service.server.requests)
        registry.tags("team/other")
        asked = service.server.requests[before:]
        assert [request.path for request in asked] == ["/token", "/v2/team/other/tags/list"]
        assert asked[0].query["scope"] == ["repository:team/other:pull"]


def test_no_more_requests_than_the_concurrency_are_under_way_at_once() -> None:
    lock, under_way, most = threading.Lock(), [0], [0]

    def answer(_: Asked) -> Answered:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        server.stopped.wait(0.02)
        with lock:
            under_way[0] -= 1
        return reply(200, TAGS)

    with Scripted(answer) as server, Http() as http, ThreadPoolExecutor(12) as pool:
        registry = Registry(server.host, http=http, insecure=True, concurrency=3)
        list(pool.map(lambda _: registry.tags("team/app"), range(24)))
        assert most[0] == 3


# --- refusals -------------------------------------------------------------------------------------------------------


@dataclass
class Realm:
    """A registry whose token service always answers the same; it keeps what that one was asked."""

    status: int
    body: object = b""
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path != "/token":
            return httpx.Response(
                401, headers={"WWW-Authenticate": 'Bearer realm="https://registry.example.com/token"'}
            )
        self.asked.append(request)
        if isinstance(self.body, bytes):
            return httpx.Response(self.status, content=self.body)
        return httpx.Response(self.status, json=self.body)


def test_a_refused_login_is_not_tried_again_for_a_while_unless_it_changes() -> None:
    now, realm = [0.0], Realm(401)
    http = Http(transport=httpx.MockTransport(realm))
    registry = Registry("registry.example.com", http=http, credentials=Given(pair=LOGIN), clock=lambda: now[0])
    for _ in range(5):
        with pytest.raises(LoginRefused, match="refused the configured login"):
            registry.tags("team/app")
    assert len(realm.asked) == 1, "Docker Hub locks a user name after a few wrong passwords"
    now[0] += 301
    with pytest.raises(LoginRefused):
        registry.tags("team/app")
    assert len(realm.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(200, {}, id="no token"),
        pytest.param(200, {"token": ""}, id="empty token"),
        pytest.param(200, {"token": 7}, id="a number"),
        pytest.param(200, {"token": "a\r\nX-Evil: 1"}, id="a header smuggled in"),
        pytest.param(200, {"token": "caf\u00e9"}, id="not ASCII"),
        pytest.param(200, ["token"], id="a list"),
        pytest.param(200, b"<html>", id="HTML"),
        pytest.param(200, b" " * (65 << 10), id="too large"),
        pytest.param(302, b"", id="a redirect"),
        pytest.param(404, b"", id="not there"),
    ],
)
def test_an_answer_without_a_usable_token_is_an_error(status: int, body: object) -> None:
    http = Http(transport=httpx.MockTransport(Realm(status, body)))
    with pytest.raises(RegistryError, match=r"token|larger"):
        Registry("registry.example.com", http=http).tags("team/app")


def test_a_password_that_cannot_be_read_is_an_error_of_this_registry(tmp_path: Path) -> None:
    credentials = Basic(username="ci", password=SecretRef(f"file:{tmp_path}/none"))
    http = Http(transport=httpx.MockTransport(Realm(200)))
    with pytest.raises(RegistryError, match=r"no login for registry\.example\.com: secret file:.* cannot be read"):
        Registry("registry.example.com", http=http, credentials=credentials).tags("team/app")


def test_a_password_that_changed_in_its_file_is_used_at_once(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("old-password\n")
    right = "Basic " + base64.b64encode(b"ci:new-password").decode()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") == right:
            return httpx.Response(200, json=TAGS)
        return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    credentials = Basic(username="ci", password=SecretRef(f"file:{path}"))
    registry = Registry(
        "registry.example.com", http=Http(transport=httpx.MockTransport(answer)), credentials=credentials
    )
    with pytest.raises(LoginRefused, match="wrong"):
        registry.tags("team/app")
    path.write_text("new-password\n")
    assert registry.tags("team/app").names == ("1",)


def test_a_header_that_a_server_echoes_is_blanked_like_the_password_itself() -> None:
    world = World("https://registry.example.com/token")
    world.ask("registry.example.com")
    assert redact(f"you sent {BASIC}") == "you sent Basic ***"


def test_waiting_for_a_token_ends_at_the_deadline() -> None:
    service = Service(expires_in=300)
    service.delay = 30
    with service.server, Http() as http, ThreadPoolExecutor(2) as pool:
        registry = Registry(service.server.host, http=http, insecure=True, scan_seconds=0.4)
        start = time.monotonic()
        waiting = [pool.submit(registry.tags, "team/app") for _ in range(2)]
        assert all(isinstance(future.exception(10), RegistryError) for future in waiting)
        assert time.monotonic() - start < 3


# --- the family -----------------------------------------------------------------------------------------------------


def test_every_login_of_the_family_has_words_for_the_manual() -> None:
    family = members(Credentials)
    assert "basic" in family
    for kind, member in family.items():
        assert member.__doc__, kind
        assert all(info.description for name, info in member.model_fields.items() if name != "kind"), kind


@pytest.mark.parametrize("username", ["", "a:b", "a\nb"])
def test_a_user_name_that_basic_cannot_carry_is_refused(username: str) -> None:
    with pytest.raises(ValueError, match="username"):
        Basic(username=username, password=SecretRef("env:X"))
