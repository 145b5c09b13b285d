"""The client against real registries, Debian's and the embedded one: what it reads, and at what cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.proxy import Proxy
from tests.lab.registry import FLAVOURS, Auth, Flavour, open_registry
from updater.errors import RegistryError
from updater.registry.client import LoginRefused, NotFound, Registry
from updater.transport.http import Http

AUTHS = ["open", "basic", "token"]


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_tags_and_digests_of_a_pushed_image_are_read(flavour: Flavour, auth: Auth, tmp_path: Path) -> None:
    with open_registry(flavour, tmp_path, auth=auth) as lab, Http() as http:
        one = lab.push("team/app", ["1.0.0", "1.0.1"])
        two = lab.push("team/app", ["2.0.0"], payload=b"two", platforms=("linux/amd64", "linux/arm64"))
        registry = lab.client(http)
        listing = registry.tags("team/app")
        assert (sorted(listing.names), listing.complete) == (["1.0.0", "1.0.1", "2.0.0"], True)
        assert registry.digest("team/app", "1.0.1") == one
        assert registry.digest("team/app", two) == registry.digest("team/app", "2.0.0") == two
        with pytest.raises(NotFound, match="not found"):
            registry.digest("team/app", "9.9.9")
        with pytest.raises(NotFound, match="NAME_UNKNOWN"):
            registry.tags("team/none")
        assert registry.untrusted_realms == ()


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_wrong_or_missing_login_is_told_apart_from_a_missing_image(
    flavour: Flavour, auth: Auth, tmp_path: Path
) -> None:
    with open_registry(flavour, tmp_path, auth=auth) as lab, Http() as http:
        lab.push("team/app", ["1.0.0"])
        with pytest.raises(LoginRefused, match="none is configured"):
            lab.client(http, anonymous=True).tags("team/app")
        with pytest.raises(LoginRefused, match="login") as refused:
            lab.client(http, login=("ci", "wrong-password")).tags("team/app")
        assert "wrong-password" not in str(refused.value)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_three_thousand_tags_are_all_there(flavour: Flavour, tmp_path: Path) -> None:
    with open_registry(flavour, tmp_path) as lab, Http() as http:
        tags = [f"1.{number}.0" for number in range(3000)]
        lab.seed("team/many", tags)
        listing = lab.client(http).tags("team/many")
        assert (set(listing.names), listing.complete, listing.why) == (set(tags), True, "")


@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_private_ca_is_trusted_beside_the_systems_and_only_where_it_is_set(
    flavour: Flavour, auth: Auth, tmp_path: Path
) -> None:
    with open_registry(flavour, tmp_path, auth=auth, tls=True) as lab:
        lab.push("team/app", ["1.0.0"])
        with Http(ca_file=lab.ca_file) as http:
            assert lab.client(http).tags("team/app").names == ("1.0.0",)
        with Http() as http, pytest.raises(RegistryError, match=r"certificate is not trusted .* ca_file"):
            lab.client(http).tags("team/app")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_everything_goes_through_the_proxy_that_is_configured(flavour: Flavour, tls: bool, tmp_path: Path) -> None:
    with (
        open_registry(flavour, tmp_path, auth="basic", tls=tls) as lab,
        Proxy() as proxy,
        Http(ca_file=lab.ca_file, proxy=proxy.url) as http,
    ):
        lab.push("team/app", ["1.0.0"])
        assert lab.client(http).tags("team/app").names == ("1.0.0",)
        expected = f"CONNECT {lab.host}" if tls else f"GET {lab.url}/v2/team/app/tags/list?n=1000"
        assert expected in proxy.asked


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_endpoint_is_asked_instead_of_the_host(flavour: Flavour, tmp_path: Path) -> None:
    with open_registry(flavour, tmp_path) as lab, Http() as http:
        digest = lab.push("team/app", ["1.0.0"])
        for endpoint in (lab.host, lab.url, f"{lab.url}/"):
            registry = Registry("registry.example.com", http=http, endpoint=endpoint, insecure=True)
            assert registry.digest("team/app", "1.0.0") == digest


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        pytest.param("http://registry.example.com", "insecure: true", id="plain HTTP that was not allowed"),
        pytest.param("https://user:password@registry.example.com", "not an address", id="a login in it"),
        pytest.param("https://registry.example.com:99999", "not an address", id="no such port"),
        pytest.param("ftp://registry.example.com", "not an address", id="another scheme"),
    ],
)
def test_an_endpoint_that_must_not_be_asked_is_refused(endpoint: str, words: str) -> None:
    with Http() as http, pytest.raises(RegistryError, match=words) as refused:
        Registry("registry.example.com", http=http, endpoint=endpoint)
    assert "password" not in str(refused.value)
