"""What labels and annotations say of where an image comes from; anybody may have written them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.origin import MAX_URL, Origin, is_page
from updater.registry.labels import page, read_origin

HUB = "https://github.com/acme/api"
KEY = "org.opencontainers.image."

KEPT: dict[str, tuple[str, str]] = {
    "a page": (HUB, HUB),
    "a slash at its end": (f"{HUB}/", HUB),
    "blanks around it": (f" {HUB} ", HUB),
    "without TLS, on a port": ("http://git.example.com:3000/acme/api", "http://git.example.com:3000/acme/api"),
    "a query": ("https://git.example.com/?p=api.git&a=summary", "https://git.example.com/?p=api.git&a=summary"),
    "the address of a clone": (f"{HUB}.git", HUB),
    "what was built of it": (f"{HUB}.git#refs/heads/main:docker", HUB),
    "as ssh spells it": ("git@github.com:acme/api.git", HUB),
    "an ssh address": ("ssh://git@github.com:22/acme/api.git", HUB),
    "a git address": ("git://github.com/acme/api.git", HUB),
    "as npm spells it": (f"git+{HUB}.git", HUB),
    "as npm spells ssh": ("git+ssh://git@github.com/acme/api.git", HUB),
    "a known host without a scheme": ("github.com/acme/api", HUB),
}  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), KEPT.values(), ids=KEPT)
def test_a_source_becomes_its_page(value: str, expected: str) -> None:
    assert page(value) == expected
    assert page(expected) == expected


DROPPED: dict[str, object] = {
    "a script": "javascript:alert(1)",
    "a file": "file:///etc/passwd",
    "data": "data:text/html,x",
    "capitals": "HTTPS://github.com/acme/api",
    "no host": "https:///acme/api",
    "a user": "https://user@github.com/acme/api",
    "a token": "https://oauth2:canary@gitlab.com/acme/api.git",
    "a token with a port of its own": "https://1:2@gitlab.com/acme/api",
    "a host in disguise": "https://github.com\\@evil.example/",
    "a word over ssh": "ssh://git:canary@github.com/acme/api",
    "another user over ssh": "root@github.com:acme/api",
    "a blank inside": "https://github.com/acme api",
    "another line": f"{HUB}\nImage-Update: ghcr.io/acme/api 1 -> 2",
    "a line end": f"{HUB}\n",
    "a control character": f"{HUB}\x1b[2J",
    "a mark that turns the text around": f"{HUB}\u202egpj",
    "letters of another script": "https://gith\u00fcb.com/acme/api",
    "markup": f"{HUB}<script>",
    "the end of a link": f"{HUB}) [x](https://evil.example",
    "a quote": f'{HUB}"onclick="x',
    "a word": "api",
    "a path": "/acme/api",
    "too long": f"{HUB}/{'x' * MAX_URL}",
    "nothing": "",
    "a number": 7,
    "null": None,
    "a list": [HUB],
}


@pytest.mark.parametrize("value", DROPPED.values(), ids=DROPPED)
def test_what_is_no_page_is_dropped(value: object) -> None:
    assert page(value) is None
    assert read_origin({f"{KEY}source": value, f"{KEY}url": value}) == Origin()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0123456789abcdef0123456789abcdef01234567", "0123456789abcdef0123456789abcdef01234567"),
        ("0123ABC", "0123abc"),
        ("a" * 64, "a" * 64),
        ("a" * 65, None),
        ("0123ab", None),
        ("0123abc-dirty", None),
        ("main", None),
        ("../0123abc", None),
        ("0123abc\n", None),
        (1234567, None),
    ],
    ids=["SHA-1", "short, in capitals", "SHA-256", "too long", "too short", "of a dirty tree", "a branch", "a path",
         "a line end", "a number"],
)  # fmt: skip
def test_a_revision_is_a_hash_or_nothing(value: object, expected: str | None) -> None:
    assert read_origin({f"{KEY}revision": value}).revision == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("v1.5.0+build.7", "v1.5.0+build.7"), ("../../x", None), ("1.5 or so", None), ("1" * 129, None), ({}, None)],
    ids=["a version", "a path", "words", "too long", "an object"],
)
def test_a_version_is_a_word_or_nothing(value: object, expected: str | None) -> None:
    assert read_origin({f"{KEY}version": value}).version == expected


@pytest.mark.parametrize(
    ("told", "source"),
    [
        (({f"{KEY}source": HUB}, {f"{KEY}source": "https://base.example"}), HUB),
        (({f"{KEY}source": "no page"}, {f"{KEY}source": HUB}), HUB),
        (({f"{KEY}revision": "0123abc"}, {f"{KEY}source": HUB}), HUB),
        ((None, [f"{KEY}source"], {f"{KEY}source": HUB}), HUB),
        (({"source": HUB, "org.label-schema.vcs-url": HUB},), None),
    ],
    ids=["the first that says it", "the first that is usable", "key by key", "what is no object says nothing",
         "other keys say nothing"],
)  # fmt: skip
def test_annotations_come_before_labels(told: tuple[object, ...], source: str | None) -> None:
    assert read_origin(*told).source == source


ANYTHING = st.none() | st.integers() | st.text(max_size=40) | st.lists(st.text(max_size=5), max_size=2)
ADDRESSES = st.from_regex(r"(https?://|git@|git\+ssh://|ssh://git@)[\x20-\x7e\n]{1,40}", fullmatch=True)


@given(st.dictionaries(st.sampled_from([f"{KEY}{key}" for key in ("source", "revision", "version", "url")]),
                       ANYTHING | ADDRESSES))  # fmt: skip
def test_whatever_labels_say_what_is_kept_is_harmless(labels: dict[str, Any]) -> None:
    found = read_origin(labels)
    for url in filter(None, (found.source, found.url)):
        assert is_page(url)
        assert "@" not in url.split("/")[2]
    for text in filter(None, (found.source, found.revision, found.version, found.url)):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(" <>\"'()[]{}`\\|*")
