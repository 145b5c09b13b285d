"""A good guest: what a host asked for, and that it is down, counts for all who ask it, and for nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.lab import config
from tests.lab.scripted import Answered, Asked, Scripted, Waits, reply
from updater.daemon.build import build
from updater.errors import RegistryError
from updater.model.image import ImageRef
from updater.pipeline.scan import limits
from updater.registry.client import Registry
from updater.registry.host import BUDGETS, MAX_HOSTS, Hosts, Limit, read_limit
from updater.transport.http import Answer, Http
from updater.transport.pace import Budget

PAGE = reply(200, {"name": "team/app", "tags": ["1"]})
TOLD = datetime(2026, 11, 26, tzinfo=UTC)


@dataclass(slots=True)
class Guest:
    """Clients that know of each other's troubles; nobody really waits, and luck always waits longest."""

    waits: Waits
    hosts: Hosts
    http: Http
    closing: ExitStack

    def serve(self, script: Callable[[Asked], Answered]) -> Scripted:
        return self.closing.enter_context(Scripted(script))

    def at(self, server: Scripted, **options: object) -> Registry:
        given: dict[str, object] = {"insecure": True, "sleep": self.waits.sleep, "hosts": self.hosts} | options
        return Registry(server.host, http=self.http, **given)  # type: ignore[arg-type]

    def refused(self, registry: Registry, repository: str = "team/app") -> RegistryError:
        with pytest.raises(RegistryError) as caught:
            registry.tags(repository)
        return caught.value


@pytest.fixture
def guest() -> Iterator[Guest]:
    with ExitStack() as closing:
        waits = Waits()
        http = closing.enter_context(Http())
        yield Guest(waits, Hosts(clock=waits.now, random=lambda: 1.0), http, closing)


def seconds(err: RegistryError) -> float:
    assert err.retry_at is not None
    return (err.retry_at - datetime.now(UTC)).total_seconds()


# --- too many requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_one_was_asked_for_is_kept_by_all_who_ask_that_host_and_by_nobody_else(
    guest: Guest, status: int
) -> None:
    angry = guest.serve(lambda _: reply(status, {}, ("Retry-After", "600")))
    calm = guest.serve(lambda _: PAGE)
    guest.refused(guest.at(angry))
    told = [guest.refused(guest.at(angry), name) for name in ("team/app", "other/thing")]
    assert all(500 < seconds(err) < 610 for err in told)
    assert all(f"{angry.host} wants fewer requests" in str(err) for err in told)
    assert (len(angry.requests), guest.waits.slept) == (1, [])
    assert guest.at(calm).tags("team/app").names == ("1",)
    guest.waits.leapt += 606
    guest.refused(guest.at(angry))
    assert len(angry.requests) == 2


def test_a_short_pause_is_waited_for_by_all_who_come_meanwhile(guest: Guest) -> None:
    answers = iter([reply(429, {}, ("Retry-After", "2"))])
    server = guest.serve(lambda _: next(answers, PAGE))
    guest.hosts.at(server.url).ask_for_pause(2.0, "as somebody was told")
    assert guest.at(server).tags("team/app").names == ("1",)
    assert guest.waits.slept == pytest.approx([2.5, 2.5], abs=0.5)
    assert len(server.requests) == 2


def test_who_waits_for_a_turn_does_not_go_out_when_a_pause_began_meanwhile(guest: Guest) -> None:
    asked, answer = threading.Event(), threading.Event()

    def script(_: Asked) -> Answered:
        asked.set()
        answer.wait(10)
        return reply(429, {}, ("Retry-After", "600"))

    server = guest.serve(script)
    registry = guest.at(server, concurrency=1)
    errors: list[RegistryError] = []
    threads = [threading.Thread(target=lambda: errors.append(guest.refused(registry))) for _ in range(4)]
    threads[0].start()
    assert asked.wait(10)
    for thread in threads[1:]:
        thread.start()
    answer.set()
    for thread in threads:
        thread.join(10)
    assert (len(errors), len(server.requests)) == (4, 1)


def test_three_times_too_many_requests_is_no_trouble_and_after_more_of_it_one_asks_at_a_time(guest: Guest) -> None:
    server = guest.serve(lambda _: reply(429, {}, ("Retry-After", "60")))
    probes = []
    for _ in range(4):
        assert "too many requests" in str(guest.refused(guest.at(server)))
        guest.waits.leapt += 66
        visit = guest.hosts.at(server.url).enter()
        probes.append(visit.probe)
        visit.leave()
    assert probes == [False, False, False, True]
    assert len(server.requests) == 4


# --- down ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [reply(500), reply(502), reply(503), reply(504), None])
def test_nobody_waits_for_a_host_that_is_down(guest: Guest, trouble: bytes | None) -> None:
    answers = {"script": trouble}
    server = guest.serve(lambda _: answers["script"])
    registry = guest.at(server)
    first = guest.refused(registry)
    assert len(server.requests) == 3
    slept = len(guest.waits.slept)
    leapt = guest.waits.leapt
    doubt = 0 if trouble is None else 1  # an answer may be the trouble of one repository: another one has a try
    guest.refused(guest.at(server), "other/thing")
    second = guest.refused(guest.at(server), "third/thing")
    assert str(second) == str(first), "the same words, with since when, for as long as it lasts"
    assert f"{server.host} is down since 20" in str(first)
    assert seconds(first) > 0
    assert seconds(second) > 0
    assert (len(server.requests), len(guest.waits.slept)) == (3 + doubt, slept)
    guest.waits.leapt = leapt + 2.1
    guest.refused(registry)
    assert len(server.requests) == 4 + doubt, "a probe has one try"
    answers["script"] = PAGE
    guest.waits.leapt += 4.1
    assert registry.tags("team/app").names == ("1",)
    assert registry.tags("team/app").names == ("1",)


def test_one_probe_at_a_time_asks_a_host_that_is_down(guest: Guest) -> None:
    asked, answer = threading.Event(), threading.Event()

    def script(_: Asked) -> Answered:
        if len(server.requests) <= 3:
            return reply(503)
        asked.set()
        answer.wait(10)
        return PAGE

    server = guest.serve(script)
    registry = guest.at(server)
    guest.refused(registry)
    guest.waits.leapt += 1.1
    found: list[object] = []
    probe = threading.Thread(target=lambda: found.append(registry.tags("team/app").names))
    probe.start()
    assert asked.wait(10)
    with pytest.raises(RegistryError, match="is down since"):
        guest.hosts.at(server.url).enter()
    waiting = threading.Thread(target=lambda: found.append(registry.tags("team/other").names))
    waiting.start()
    waiting.join(0.2)
    assert (waiting.is_alive(), len(server.requests)) == (True, 4), "it waits for what the probe finds out"
    answer.set()
    for thread in (probe, waiting):
        thread.join(10)
    assert (found, len(server.requests)) == ([("1",), ("1",)], 5)


def test_one_repository_that_is_broken_costs_the_others_nothing(guest: Guest) -> None:
    """A proxy answers 502 for what it cannot fetch itself; asked alone, that looks like a host that is down."""

    def script(asked: Asked) -> Answered:
        if "broken" in asked.path:
            return reply(502)
        server.stopped.wait(0.1)  # as far as a registry is away
        return PAGE

    server = guest.serve(script)
    registry = guest.at(server)
    guest.refused(registry, "team/broken")
    guest.waits.leapt += 1.1
    names = ["team/broken", *(f"team/app{n}" for n in range(20))]
    with ThreadPoolExecutor(4) as pool:
        asked = {name: pool.submit(registry.tags, name) for name in names}
    assert [name for name, one in asked.items() if one.exception()] == ["team/broken"]


def test_a_question_that_a_host_cannot_answer_is_no_trouble_of_the_host_while_it_answers_others(guest: Guest) -> None:
    def script(asked: Asked) -> Answered:
        if "broken" not in asked.path:
            return PAGE
        if sum("broken" in one.path for one in server.requests) == 2:
            registry.tags("team/app")
        return reply(500)

    server = guest.serve(script)
    registry = guest.at(server)
    assert "500" in str(guest.refused(registry, "team/broken"))
    assert registry.tags("team/app").names == ("1",)


def test_a_token_service_that_is_down_is_not_stormed_and_the_registry_is_not_blamed(guest: Guest) -> None:
    tokens = guest.serve(lambda _: reply(503))
    challenge = ("WWW-Authenticate", f'Bearer realm="{tokens.url}/token"')
    server = guest.serve(lambda asked: PAGE if "open" in asked.path else reply(401, {}, challenge))
    registry = guest.at(server)
    told = [guest.refused(registry, f"team/app{n}") for n in range(5)]
    assert len(tokens.requests) == 3
    assert {str(err) for err in told} == {str(told[0])}
    assert f"{tokens.host} is down since" in str(told[0])
    assert guest.at(server).tags("team/open").names == ("1",)


def test_hosts_without_end_are_not_remembered_without_end() -> None:
    hosts = Hosts()
    first = hosts.at("https://first.example.com/v2/")
    assert hosts.at("https://FIRST.example.com/token?x") is first
    for n in range(MAX_HOSTS):
        hosts.at(f"https://{n}.example.com/")
    assert hosts.at("https://first.example.com/") is not first
    assert hosts.at("http://[").name == ""


# --- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "options", "limited"),
    [
        pytest.param("public.ecr.aws", {}, True, id="known to throttle"),
        pytest.param("registry.example.com", {}, False, id="unknown"),
        pytest.param("public.ecr.aws", {"endpoint": "mirror.example.com"}, False, id="a mirror is not the host"),
        pytest.param("public.ecr.aws", {"budget": Budget(1000.0, 1000)}, False, id="the operator's own"),
    ],
)
def test_hosts_that_throttle_have_a_budget_that_all_their_clients_share(
    host: str, options: dict[str, object], limited: bool
) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"no list")

    http = Http(transport=httpx.MockTransport(answer))
    hosts = Hosts()
    clients = [Registry(host, http=http, hosts=hosts, scan_seconds=0.5, **options) for _ in range(2)]  # type: ignore[arg-type]
    burst = BUDGETS["public.ecr.aws"][1]
    for n in range(burst + 1):
        with pytest.raises(RegistryError) as caught:  # what comes back is no list
            clients[n % 2].tags("team/app")
    assert ("no turn in time" in str(caught.value)) is limited
    assert len(asked) == burst + (not limited)


def test_every_budget_is_one_that_can_be_kept() -> None:
    assert {"docker.io", "ghcr.io", "quay.io", "public.ecr.aws"} <= BUDGETS.keys()
    for rate, burst in BUDGETS.values():
        Budget(rate, burst)


CONFIG = """\
registries:
  - {{host: "{host}", insecure: true}}
  - {{host: "{host}/team", insecure: true}}
  - {{host: "{host}/own", insecure: true, concurrency: 2}}
images: []
"""


def test_entries_of_one_host_share_what_is_known_of_it(tmp_path: Path, guest: Guest) -> None:
    server = guest.serve(lambda _: reply(429, {}, ("Retry-After", "600")))
    settings = config.settings(tmp_path, CONFIG.format(host=server.host))
    with build(settings) as world:
        paths = ("any/app", "team/app", "own/app")
        clients = [world.registry_of(ImageRef.parse(f"{server.host}/{path}")) for path in paths]
        assert len({*map(id, clients)}) == 3
        assert [one.concurrency for one in clients] == [4, 4, 2]
        for client, path in zip(clients, paths, strict=True):
            guest.refused(client, path)
    assert len(server.requests) == 1


# --- what may be pulled ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        pytest.param(
            {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}
            | {"docker-ratelimit-source": "192.0.2.1"},
            Limit(100, 76, 21600, "192.0.2.1", TOLD),
            id="as Docker Hub says it",
        ),
        pytest.param({"ratelimit-remaining": "0"}, Limit(None, 0, None, "", TOLD), id="the least"),
        pytest.param({"ratelimit-limit": "100"}, None, id="nothing remains to be said"),
        pytest.param({"ratelimit-remaining": "-1"}, None, id="negative"),
        pytest.param({"ratelimit-remaining": "9" * 30}, None, id="beyond all measure"),
        pytest.param({"ratelimit-remaining": "7x"}, None, id="text"),
        pytest.param(
            {"ratelimit-remaining": "7", "docker-ratelimit-source": "<script>", "ratelimit-limit": "ten"},
            Limit(None, 7, None, "", TOLD),
            id="hostile neighbours",
        ),
    ],
)  # fmt: skip
def test_limits_are_read_where_they_make_sense(headers: dict[str, str], limit: Limit | None) -> None:
    assert read_limit(Answer(200, httpx.Headers(headers), b"", "https://x/"), TOLD) == limit


def test_what_remains_is_known_after_an_answer_also_after_one_that_refuses(guest: Guest) -> None:
    digest = ("Docker-Content-Digest", "sha256:" + "a" * 64)
    answers = iter([reply(200, b"", digest, ("RateLimit-Remaining", "5;w=60")), PAGE,
                    reply(429, {}, ("RateLimit-Remaining", "0;w=60"), ("Retry-After", "600"))])  # fmt: skip
    registry = guest.at(guest.serve(lambda _: next(answers)))
    assert registry.limit is None
    assert limits([ImageRef.parse("x.example.com/team/app")], lambda _: registry) == {}
    registry.digest("team/app", "1")
    registry.tags("team/app")
    assert registry.limit is not None
    assert registry.limit.remaining == 5
    assert limits([ImageRef.parse("x.example.com/team/app")], lambda _: registry) == {"x.example.com": registry.limit}
    guest.refused(registry)
    assert registry.limit.remaining == 0
