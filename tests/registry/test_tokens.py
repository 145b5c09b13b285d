"""How a proof becomes what a registry takes: identity tokens, bearer tokens, renewal, and tokens that are shared."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import PrivateAttr

from updater.errors import RegistryError
from updater.registry.client import LoginRefused, Registry
from updater.registry.credentials.base import Credentials, Proof
from updater.registry.credentials.github import GitHub
from updater.registry.credentials.kept import Kept, Lent
from updater.registry.credentials.token import Token
from updater.secrets import SecretRef, redact
from updater.transport.http import Http

HOST = "registry.example.com"
TAGS = {"name": "team/app", "tags": ["1"]}


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Renewable(Credentials):
    """Gives the first proof until it is refused, then the next; it counts the renewals."""

    proofs: tuple[Proof, ...]
    _refused: list[Proof] = PrivateAttr(default_factory=list)

    @property
    def refused(self) -> list[Proof]:
        return self._refused

    def login(self, repository: str, deadline: float) -> Proof:
        return self.proofs[min(len(self._refused), len(self.proofs) - 1)]

    def renew(self, refused: Proof) -> bool:
        self._refused.append(refused)
        return True


class World:
    """A registry and its token service. `takes` are the headers that the registry takes, for every repository.

    `mint` answers the token service's requests; without it there is none, and the registry asks for Basic.
    """

    def __init__(
        self, takes: set[str], mint: Callable[[httpx.Request], httpx.Response] | None = None, host: str = HOST
    ) -> None:
        self.takes, self.mint, self.host = takes, mint, host
        self.private: dict[str, str] = {}  # repository -> the only header that it takes
        self.seen: list[httpx.Request] = []
        self.realm = f"https://{host}/token?account=x"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if "/v2/" not in request.url.path:
            assert self.mint is not None
            return self.mint(request)
        repository = request.url.path.removeprefix("/v2/").removesuffix("/tags/list")
        given = request.headers.get("authorization")
        if given == self.private.get(repository, given) and given in self.takes:
            return httpx.Response(200, json=TAGS)
        challenge = f'Bearer realm="{self.realm}",service="s"' if self.mint else 'Basic realm="x"'
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    def client(self, credentials: Credentials | None, **options: Any) -> Registry:
        return Registry(self.host, http=Http(transport=httpx.MockTransport(self)), credentials=credentials, **options)

    @property
    def sent(self) -> list[str | None]:
        """What the registry itself was sent."""
        return [request.headers.get("authorization") for request in self.seen if "/v2/" in request.url.path]

    @property
    def minted(self) -> list[httpx.Request]:
        return [request for request in self.seen if "/v2/" not in request.url.path]


def form(request: httpx.Request) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(request.content.decode()).items()}


def ref(tmp_path: Any, value: str) -> SecretRef:
    path = tmp_path / "secret"
    path.write_text(value)
    return SecretRef(f"file:{path}")


# --- identity tokens ------------------------------------------------------------------------------------------------


def test_an_identity_token_is_traded_in_the_body_of_a_post() -> None:
    world = World({"Bearer t"}, lambda _: httpx.Response(200, json={"access_token": "t", "expires_in": 300}))
    registry = world.client(Renewable(proofs=(Proof(identity_token="identity-canary"),)))
    assert registry.tags("team/app").names == ("1",)
    [asked] = world.minted
    assert (asked.method, str(asked.url)) == ("POST", world.realm), "nothing of it in the address, which may be logged"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in asked.headers
    assert form(asked) == {
        "grant_type": "refresh_token",
        "client_id": "updater",
        "service": "s",
        "scope": "repository:team/app:pull",
        "refresh_token": "identity-canary",
    }


def test_an_identity_token_that_comes_in_the_answer_is_used_the_next_time_and_the_old_one_where_it_is_refused() -> None:
    now, good = [0.0], {"first-identity"}

    def mint(request: httpx.Request) -> httpx.Response:
        if form(request)["refresh_token"] not in good:
            return httpx.Response(400, json={"error": "invalid_grant"})
        return httpx.Response(200, json={"access_token": "t", "expires_in": 60, "refresh_token": "second-identity"})

    world = World({"Bearer t"}, mint)
    registry = world.client(Renewable(proofs=(Proof(identity_token="first-identity"),)), clock=lambda: now[0])
    used = []
    for good_now in ({"first-identity"}, {"second-identity"}, {"first-identity"}):
        good.clear()
        good.update(good_now)
        registry.tags("team/app")
        used.append([form(request)["refresh_token"] for request in world.minted])
        world.seen.clear()
        now[0] += 100
    assert used == [["first-identity"], ["second-identity"], ["second-identity", "first-identity"]]
    assert redact("second-identity") == "***"


def test_a_refused_identity_token_is_an_error_that_does_not_repeat_it() -> None:
    world = World(set(), lambda _: httpx.Response(400, json={"error": "invalid_grant", "x": "identity-canary"}))
    registry = world.client(Renewable(proofs=(Proof(identity_token="identity-canary"),)))
    for _ in range(3):
        with pytest.raises(LoginRefused, match="refused the configured login") as caught:
            registry.tags("team/app")
        assert "identity-canary" not in str(caught.value)
    assert len(world.minted) == 1


def test_a_realm_that_is_not_trusted_sees_no_identity_token() -> None:
    world = World({"Bearer t"}, lambda _: httpx.Response(200, json={"token": "t"}))
    world.realm = "https://evil.example.org/token"
    registry = world.client(Renewable(proofs=(Proof("u", "password-canary", "identity-canary"),)))
    registry.tags("team/app")
    [asked] = world.minted
    assert asked.method == "GET"
    assert b"canary" not in asked.content + str(asked.url).encode() + str(asked.headers.raw).encode()
    assert registry.untrusted_realms == ("evil.example.org",)


def test_a_known_realm_without_tls_sees_no_login_even_where_plain_http_is_allowed() -> None:
    world = World({"Bearer t"}, lambda _: httpx.Response(200, json={"token": "t"}), "docker.io")
    world.realm = "http://auth.docker.io/token"
    world.client(Renewable(proofs=(Proof("u", "p"),)), insecure=True).tags("team/app")
    assert [request.headers.get("authorization") for request in world.minted] == [None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("proof", [Proof("u", "password-canary"), Proof(identity_token="identity-canary")])
def test_no_redirect_is_followed_at_a_token_service(status: int, proof: Proof) -> None:
    world = World({"Bearer t"}, lambda _: httpx.Response(status, headers={"Location": "https://evil.example.org/"}))
    with pytest.raises(RegistryError, match=rf"token service registry\.example\.com .* redirects \({status}\)"):
        world.client(Renewable(proofs=(proof,))).tags("team/app")
    assert {request.url.host for request in world.seen} == {HOST}


# --- what the registry itself takes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mint", [None, lambda _: httpx.Response(500)], ids=["Basic asked for", "Bearer asked for"])
def test_a_bearer_token_goes_to_the_registry_once_it_asked_and_to_no_token_service(mint: Any, tmp_path: Any) -> None:
    world = World({"Bearer the-token"}, mint)
    registry = world.client(Token(token=ref(tmp_path, "the-token")))
    assert registry.tags("team/app").names == registry.tags("team/app").names == ("1",)
    assert world.sent == [None, "Bearer the-token", "Bearer the-token"]
    assert world.minted == []


def test_a_login_that_becomes_a_bearer_token_is_not_shown_to_the_token_service_that_is_known() -> None:
    world = World({"Bearer t", "Bearer bearer-canary"}, lambda _: httpx.Response(200, json={"token": "t"}))
    credentials = Renewable(proofs=(Proof("u", "p"), Proof(bearer="bearer-canary")))
    registry = world.client(credentials)
    registry.tags("team/app")
    credentials.renew(credentials.proofs[0])
    world.takes.remove("Bearer t")
    assert registry.tags("team/other").names == ("1",)
    assert [request.headers.get("authorization") for request in world.minted] == [basic("u", "p"), None]
    assert world.sent[-1] == "Bearer bearer-canary"


def test_a_bearer_token_that_is_refused_is_sent_once_and_a_changed_one_is_taken(tmp_path: Any) -> None:
    world = World(set())
    registry = world.client(Token(token=ref(tmp_path, "old-token")))
    with pytest.raises(LoginRefused, match="wrong or may not read it"):
        registry.tags("team/app")
    assert world.sent == [None, "Bearer old-token"]
    ref(tmp_path, "new-token")
    world.takes.add("Bearer new-token")
    assert registry.tags("team/app").names == ("1",)


def test_a_bearer_token_that_no_header_can_carry_is_an_error_that_does_not_repeat_it(tmp_path: Any) -> None:
    with pytest.raises(RegistryError, match="no header can carry") as caught:
        World(set()).client(Token(token=ref(tmp_path, "two\nlines-canary"))).tags("team/app")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("username", "sent"), [(None, "updater"), ("octocat", "octocat")])
def test_a_token_of_github_is_a_password_at_the_token_service(username: str | None, sent: str, tmp_path: Any) -> None:
    world = World({"Bearer t"}, lambda _: httpx.Response(200, json={"token": "t"}), "ghcr.io")
    world.client(GitHub(token=ref(tmp_path, "ghp_x"), username=username)).tags("team/app")
    assert [request.headers["authorization"] for request in world.minted] == [basic(sent, "ghp_x")]


# --- a login that is refused is renewed -----------------------------------------------------------------------------

OLD, NEW, NEWER = Proof("u", "old-password"), Proof("u", "new-password"), Proof("u", "newer-password")


def test_a_login_that_the_registry_refuses_is_renewed_and_tried_once_more() -> None:
    world = World({basic("u", "old-password")})
    credentials = Renewable(proofs=(OLD, NEW))
    registry = world.client(credentials)
    registry.tags("team/app")
    world.takes = {basic("u", "new-password")}
    assert registry.tags("team/app").names == ("1",)
    assert credentials.refused == [OLD]
    assert world.sent[2:] == [basic("u", "old-password"), basic("u", "new-password")]


def test_a_login_is_renewed_also_where_the_first_answer_refuses_it() -> None:
    world = World({basic("u", "new-password")})
    assert world.client(Renewable(proofs=(OLD, NEW))).tags("team/app").names == ("1",)
    assert world.sent == [None, basic("u", "old-password"), basic("u", "new-password")]


@pytest.mark.parametrize("proofs", [(OLD,), (OLD, NEW, NEWER)], ids=["the same again", "another that is refused"])
def test_a_login_is_renewed_once_a_question_and_once_a_minute(proofs: tuple[Proof, ...]) -> None:
    now = [1000.0]
    world, credentials = World(set()), Renewable(proofs=proofs)
    registry = world.client(credentials, clock=lambda: now[0])
    for seconds, renewals in ((0, 1), (1, 1), (60, 2)):
        now[0] += seconds
        with pytest.raises(LoginRefused):
            registry.tags("team/app")
        assert len(credentials.refused) == renewals
    assert len(world.sent) <= 9


def test_a_login_that_the_token_service_refuses_is_renewed_and_tried_once_more() -> None:
    def mint(request: httpx.Request) -> httpx.Response:
        right = request.headers.get("authorization") == basic("u", "new-password")
        return httpx.Response(200, json={"token": "t"}) if right else httpx.Response(401)

    world = World({"Bearer t"}, mint)
    credentials = Renewable(proofs=(OLD, NEW))
    assert world.client(credentials).tags("team/app").names == ("1",)
    assert (credentials.refused, len(world.minted)) == ([OLD], 2)


def test_a_login_that_nobody_renews_does_until_its_end() -> None:
    now, failing = [0.0], [False]

    def fetch(_: float) -> Lent:
        if failing[0]:
            raise RegistryError("the cloud is away")
        return Lent(Proof("u", f"p{now[0]}"), 3600)

    kept = Kept(fetch, clock=lambda: now[0])
    first = kept.get(time.monotonic() + 5)
    failing[0] = True
    for now[0] in (3400.0, 3599.0):
        assert kept.get(time.monotonic() + 5) == first
    now[0] = 3600.0
    with pytest.raises(RegistryError, match="the cloud is away"):
        kept.get(time.monotonic() + 5)
    failing[0], now[0] = False, 3700.0
    assert kept.get(time.monotonic() + 5) != first
    failing[0] = True
    kept.forget(kept.get(time.monotonic() + 5))
    with pytest.raises(RegistryError, match="the cloud is away"):
        kept.get(time.monotonic() + 5)


def test_whoever_has_no_time_left_to_log_in_keeps_nobody_else_from_it() -> None:
    def fetch(deadline: float) -> Lent:
        if deadline <= time.monotonic():
            raise RegistryError("no time is left")
        return Lent(Proof("u", "p"), 3600)

    kept = Kept(fetch)
    with pytest.raises(RegistryError, match="no time"):
        kept.get(time.monotonic())
    assert kept.get(time.monotonic() + 5) == Proof("u", "p")


def test_threads_whose_login_is_refused_at_the_same_time_renew_it_once_and_all_go_on() -> None:
    fetched, together = [0], threading.Barrier(8)

    def fetch(_: float) -> Lent:
        fetched[0] += 1
        return Lent(Proof("u", f"p{fetched[0]}"), 3600)

    class Lending(Credentials):
        _kept: Kept = PrivateAttr(default_factory=lambda: Kept(fetch))

        def login(self, repository: str, deadline: float) -> Proof:
            return self._kept.get(deadline)

        def renew(self, refused: Proof) -> bool:
            return self._kept.forget(refused)

    class Revoking(World):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.headers.get("authorization") not in {None, *self.takes}:
                together.wait(10)
            return super().__call__(request)

    world = Revoking({basic("u", "p1")})
    registry = world.client(Lending(), concurrency=8)
    registry.tags("team/app")
    world.takes = {basic("u", "p2")}
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda number: registry.tags(f"team/{number}").names, range(8)))
    assert names == [("1",)] * 8
    assert fetched == [2]


def test_a_login_that_cannot_be_renewed_says_why() -> None:
    class Broken(Renewable):
        def login(self, repository: str, deadline: float) -> Proof:
            if self.refused:
                raise RegistryError("the cloud gives no login today")
            return OLD

    with pytest.raises(RegistryError, match=r"no login for registry\.example\.com: the cloud gives no login today"):
        World(set()).client(Broken(proofs=())).tags("team/app")


# --- scopes and tokens that are shared ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("acme.azurecr.io", "repository:team/app:pull,metadata_read"),
        ("acme.azurecr.cn", "repository:team/app:pull,metadata_read"),
        ("acme.azurecr.io.evil.org", "repository:team/app:pull"),
        ("azurecr.io", "repository:team/app:pull"),
        ("evilazurecr.io", "repository:team/app:pull"),
    ],
)
def test_azure_is_asked_for_the_right_that_lists_tags(host: str, scope: str) -> None:
    world = World({"Bearer t"}, lambda _: httpx.Response(200, json={"token": "t"}), host)
    world.client(Renewable(proofs=(OLD,))).tags("team/app")
    assert parse_qs(world.minted[0].url.query.decode())["scope"] == [scope]


def counting(expires: int = 300) -> Callable[[httpx.Request], httpx.Response]:
    given = [0]

    def mint(_: httpx.Request) -> httpx.Response:
        given[0] += 1
        return httpx.Response(200, json={"token": f"t{given[0]}", "expires_in": expires})

    return mint


@pytest.mark.parametrize(
    ("host", "credentials", "tokens"),
    [
        pytest.param("ghcr.io", None, 1, id="not bound to a scope"),
        pytest.param("public.ecr.aws", None, 1, id="nor these"),
        pytest.param("ghcr.io", Renewable(proofs=(OLD,)), 20, id="of a login"),
        pytest.param("quay.io", None, 20, id="bound to a scope"),
    ],
)
def test_an_anonymous_token_does_for_every_repository_where_the_host_allows_it(
    host: str, credentials: Credentials | None, tokens: int
) -> None:
    world = World({f"Bearer t{number}" for number in range(99)}, counting(), host)
    registry = world.client(credentials)
    for number in range(20):
        registry.tags(f"team/{number}")
    assert len(world.minted) == tokens
    assert len(world.sent) == 21


def test_a_mirror_of_such_a_host_gets_a_token_for_each_repository() -> None:
    world = World({f"Bearer t{number}" for number in range(99)}, counting(), "mirror.example.com")
    registry = Registry(
        "ghcr.io", endpoint="https://mirror.example.com", http=Http(transport=httpx.MockTransport(world))
    )
    for number in range(3):
        registry.tags(f"team/{number}")
    assert len(world.minted) == 3


def test_a_shared_token_that_is_refused_for_one_repository_leaves_the_others_alone() -> None:
    world = World({f"Bearer t{number}" for number in range(99)}, counting(), "ghcr.io")
    world.private["team/odd"] = "Bearer t2"
    registry = world.client(None)
    for repository in ("team/1", "team/odd", "team/2", "team/odd", "team/3"):
        assert registry.tags(repository).names == ("1",)
    used = [parse_qs(request.url.query.decode())["scope"][0] for request in world.minted]
    assert used == ["repository:team/1:pull", "repository:team/odd:pull", "repository:team/2:pull"]


def test_a_repository_that_nobody_may_read_costs_the_others_nothing() -> None:
    def mint(request: httpx.Request) -> httpx.Response:
        private = "private" in str(request.url)
        return httpx.Response(401) if private else httpx.Response(200, json={"token": "t", "expires_in": 300})

    world = World({"Bearer t"}, mint, "ghcr.io")
    world.private["team/private"] = "nothing"
    registry = world.client(None)
    for _ in range(3):
        with pytest.raises(LoginRefused, match="gives no token without a login"):
            registry.tags("team/private")
        assert registry.tags("team/app").names == ("1",)


# --- the life of tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issued", ["2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "nonsense", 7, None])
def test_the_life_of_a_token_counts_from_when_it_came_whatever_clocks_elsewhere_show(issued: object) -> None:
    now = [1000.0]

    def mint(_: httpx.Request) -> httpx.Response:
        wrong = {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
        return httpx.Response(200, json={"token": "t", "expires_in": 300, "issued_at": issued}, headers=wrong)

    world = World({"Bearer t"}, mint)
    registry = world.client(None, clock=lambda: now[0])
    for seconds, tokens in ((0, 1), (269, 1), (2, 2)):
        now[0] += seconds
        registry.tags("team/app")
        assert len(world.minted) == tokens


def test_a_login_that_takes_too_long_ends_at_the_deadline() -> None:
    class Slow(Credentials):
        def login(self, repository: str, deadline: float) -> Proof:
            assert deadline <= time.monotonic() + 0.5
            raise RegistryError("not in time")

    with pytest.raises(RegistryError, match="not in time"):
        World(set()).client(Slow(), scan_seconds=0.5).tags("team/app")
