"""Where somebody else named the host, only some kinds of addresses are connected to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.proxy import Proxy
from tests.lab.scripted import Scripted, reply
from updater.transport.addresses import Kind, kind_of, led_by
from updater.transport.http import Http, TransportError

PUBLIC = frozenset({Kind.PUBLIC})


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        *((address, Kind.PUBLIC) for address in ("93.184.216.34", "1.2.3", "2606:4700::1", "64:ff9b::5db8:d822")),
        *((address, Kind.PRIVATE) for address in ("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1",
          "224.0.0.1", "255.255.255.255", "198.18.0.1", "::ffff:10.0.0.1")),
        *((address, Kind.LOOPBACK) for address in ("127.0.0.1", "127.9.9.9", "127.1", "0x7f.1", "2130706433", "0.0.0.0",
          "::1", "::", "::ffff:127.0.0.1")),
        *((address, Kind.LINK_LOCAL) for address in ("169.254.169.254", "fe80::1", "fe80::1%eth0", "100.100.100.200",
          "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1")),
        *((address, None) for address in ("registry.example.com", "", "1.2.3.4.5", "a.1")),
    ],
)  # fmt: skip
def test_addresses_have_a_kind_also_inside_ipv6(address: str, kind: Kind | None) -> None:
    assert kind_of(address) is kind


@given(st.one_of(st.ip_addresses(), st.text(max_size=60)))
def test_any_text_has_a_kind_or_none(text: object) -> None:
    kind = kind_of(str(text))
    assert kind is None or kind in Kind


@pytest.fixture
def http() -> Iterator[Http]:
    with Http() as made:
        yield made


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0x7f.1"])
def test_a_name_that_leads_to_this_machine_is_not_connected_to_however_it_is_written(http: Http, name: str) -> None:
    with Scripted(lambda _: reply(200)) as server:
        url = f"http://{name}:{server.host.rpartition(':')[2]}/"
        with pytest.raises(TransportError, match="loopback address, where this server may not lead us") as raised:
            http.request("GET", url, max_bytes=10, deadline=time.monotonic() + 5, reach=PUBLIC)
        assert not raised.value.retryable
        assert not server.requests


def test_a_connection_that_may_go_anywhere_serves_nobody_who_may_not(http: Http) -> None:
    with Scripted(lambda _: reply(200)) as server:
        free = http.request("GET", server.url, max_bytes=10, deadline=time.monotonic() + 5)
        assert free.peer is Kind.LOOPBACK
        with pytest.raises(TransportError, match="loopback"):
            http.request("GET", server.url, max_bytes=10, deadline=time.monotonic() + 5, reach=PUBLIC)
        led = http.request("GET", server.url, max_bytes=10, deadline=time.monotonic() + 5, reach=led_by(free.peer))
        assert led.status == 200
        assert len(server.requests) == 2


def test_of_several_addresses_one_that_may_be_reached_is_taken(monkeypatch: pytest.MonkeyPatch, http: Http) -> None:
    with Scripted(lambda _: reply(200)) as server:
        port = int(server.host.rpartition(":")[2])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("169.254.169.254", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        answer = http.request(
            "GET",
            f"http://two.example:{port}",
            max_bytes=10,
            deadline=time.monotonic() + 5,
            reach=led_by(Kind.LOOPBACK),
        )
        assert answer.peer is Kind.LOOPBACK
        with pytest.raises(TransportError, match=r"two.example is at a (link-local|loopback) address"):
            http.request("GET", f"http://two.example:{port}", max_bytes=10, deadline=time.monotonic() + 5, reach=PUBLIC)


def test_behind_a_proxy_addresses_in_the_url_are_judged_and_names_are_its_own_business() -> None:
    with Scripted(lambda _: reply(200)) as server, Proxy({"registry.example": server.host}) as proxy:
        with Http(proxy=proxy.url) as http:
            answer = http.request(
                "GET", "http://registry.example/", max_bytes=10, deadline=time.monotonic() + 5, reach=PUBLIC
            )
            assert (answer.status, answer.peer) == (200, None)
            for host in ("169.254.169.254", "0xa9fea9fe"):
                with pytest.raises(TransportError, match=rf"{host} is a link-local address"):
                    http.request("GET", f"http://{host}/", max_bytes=10, deadline=time.monotonic() + 5, reach=PUBLIC)
        assert len(proxy.asked) == 1


def test_a_server_may_lead_to_public_places_and_to_its_own_kind_of_place() -> None:
    assert led_by(Kind.PRIVATE) == {Kind.PUBLIC, Kind.PRIVATE}
    assert led_by(Kind.PUBLIC) == led_by(None) == {Kind.PUBLIC}
