"""Which URLs are allowed, and which are the same remote."""

from __future__ import annotations

import pytest

from updater.git.urls import check_url, parse

ALLOWED = [
    "https://git.example.com/platform/fleet.git",
    "https://git.example.com:8443/a/b/c",
    "https://dev.azure.com/org/My%20Project/_git/fleet",
    "https://git.example.com/~user/ünï.git",
    "https://[2001:db8::1]:8443/fleet.git",
    "ssh://git@git.example.com/fleet.git",
    "ssh://git.example.com:2222/srv/fleet.git",
    "ssh://git@[::1]:2222/fleet",
    "git@git.example.com:platform/fleet.git",
    "org-1234@github.com:platform/fleet.git",
    "git@git.example.com:/srv/fleet.git",
    "http://127.0.0.1:8080/fleet.git",
    "http://localhost/fleet.git",
    "http://[::1]/fleet.git",
    "git://127.0.0.2/fleet.git",
]

REFUSED = {
    "runs a command": "ext::sh -c touch% /tmp/x",
    "runs a command, without blanks": "ext::sh",
    "ext as a scheme": "ext://sh/x",
    "a transport before a URL": "ext::https://git.example.com/fleet",
    "a file descriptor": "fd::17/foo",
    "any helper": "transport::address",
    "an option": "--upload-pack=touch /tmp/x",
    "a short option": "-uTOUCH",
    "an option with a scheme": "--upload-pack=x://h/p",
    "a host that is an option": "ssh://-oProxyCommand=touch/x",
    "a user that is an option": "ssh://-oProxyCommand=x@host/fleet",
    "a host that is an option, as scp": "git@-oProxyCommand=x:fleet",
    "a user that is an option, as scp": "-oProxyCommand=x@host:fleet",
    "a path that is an option": "git@git.example.com:-x",
    "a path that is an option, as a URL": "ssh://git@git.example.com/-x",
    "a file": "file:///srv/fleet.git",
    "a path": "/srv/fleet.git",
    "a relative path": "../fleet.git",
    "a home": "~/fleet.git",
    "a host without a user, as scp": "git.example.com:fleet.git",
    "two colons, as scp": "git@git.example.com::fleet",
    "ftp": "ftp://git.example.com/fleet.git",
    "upper case": "HTTPS://git.example.com/fleet.git",
    "git+ssh": "git+ssh://git@git.example.com/fleet.git",
    "a line feed": "https://git.example.com/fleet.git\n[core]",
    "a carriage return": "https://git.example.com/fleet.git\r",
    "a tab": "https://git.example.com/fleet\t.git",
    "a NUL": "https://git.example.com/\0",
    "a blank": "https://git.example.com/my fleet.git",
    "an escape": "https://git.example.com/\x1b[2Jfleet",
    "a backslash": "https://git.example.com\\@evil.example/fleet",
    "a text that runs backwards": "https://git.example.com/\u202efleet",
    "a password": "https://ci:hunter2@git.example.com/fleet.git",
    "a token as the user": "https://hunter2@git.example.com/fleet.git",
    "an empty user with a password": "https://:hunter2@git.example.com/fleet.git",
    "a password over ssh": "ssh://git:hunter2@git.example.com/fleet.git",
    "a query": "https://git.example.com/fleet.git?token=hunter2",
    "a fragment": "https://git.example.com/fleet.git#main",
    "no host": "https:///fleet.git",
    "no path": "https://git.example.com",
    "an empty path": "https://git.example.com//",
    "a port that is none": "https://git.example.com:99999/fleet.git",
    "a port that is a word": "https://git.example.com:http/fleet.git",
    "a host with a dollar": "https://$(id).example.com/fleet.git",
    "a host with a semicolon": "ssh://git@host;id/fleet.git",
    "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("url", ALLOWED)
def test_allowed(url: str) -> None:
    check_url(url, insecure=False)
    assert parse(url).path


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
def test_refused_even_where_insecure_and_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|port|path") as caught:
        check_url(url, insecure=True)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://git.example.com/fleet.git", "git://git.example.com/fleet.git", "http://127.evil.example/x"]
)
def test_plain_protocols_beyond_loopback_need_the_operators_word(url: str) -> None:
    with pytest.raises(ValueError, match="insecure: true"):
        check_url(url)
    check_url(url, insecure=True)
