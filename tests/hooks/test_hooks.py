"""Every sender: what its documented payload hints at, which proof it knows, and that nothing it sends can hurt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.hooks.base import MAX_HINTS, Hint, Hook, digest, registry_name, same
from updater.plugins import members

GOLDEN = Path(__file__).parent / "golden"
FAMILY = members(Hook)


def made(kind: str, **more: Any) -> Hook:
    """Return a hook of a kind with the proof that it knows best, as its golden file configures it."""
    proof = next(name for name in ("secret", "token", "path") if name in FAMILY[kind].proofs)
    hook: Hook = FAMILY[kind](**golden(kind)["entry"] | {proof: "env:HOOK"} | more)
    return hook


def golden(kind: str) -> Any:
    return json.loads((GOLDEN / f"{kind}.json").read_text())


def cases() -> list[Any]:
    return [pytest.param(kind, case, id=f"{kind}: {case['what']}") for kind in FAMILY for case in golden(kind)["cases"]]


def push(kind: str) -> Any:
    """Return the case of a kind that hints at something."""
    return next(case for case in golden(kind)["cases"] if case["hints"])


@pytest.mark.parametrize(("kind", "case"), cases())
def test_what_a_documented_payload_hints_at(kind: str, case: Any) -> None:
    found = list(made(kind).hints(case["headers"], case["payload"]))
    assert found == [Hint(**hint) for hint in case["hints"]]


def test_every_golden_file_has_a_sender_and_a_source() -> None:
    sources = (GOLDEN / "SOURCES.md").read_text()
    for file in GOLDEN.glob("*.json"):
        assert file.stem in FAMILY
        assert f"`{file.name}`" in sources


@pytest.mark.parametrize("kind", [kind for kind in FAMILY if "registry" in FAMILY[kind].model_fields])
def test_a_registry_may_have_another_name_in_images(kind: str) -> None:
    case = push(kind)
    hints = list(made(kind, registry="mirror.example.com:8443").hints(case["headers"], case["payload"]))
    assert [hint.image.partition("/")[0] for hint in hints] == ["mirror.example.com:8443"]


# --- hostile payloads ------------------------------------------------------------------------------------------------

WORDS = sorted(
    {word for kind in FAMILY for case in golden(kind)["cases"] for word in json.dumps(case["payload"]).split('"')}
    - {": ", ", ", ""}
)  # keys and values of real payloads, so that what is made up gets far
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("kind", FAMILY)
@given(data=st.data())
def test_whatever_is_sent_hints_at_something_or_nothing(kind: str, data: st.DataObject) -> None:
    """No JSON raises anything but ValueError, and hints are texts."""
    case = data.draw(st.sampled_from(golden(kind)["cases"]))
    payload = data.draw(JSON) if data.draw(st.booleans()) else _spoilt(case["payload"], data)
    try:
        hints = list(made(kind).hints(case["headers"], payload))
    except ValueError:
        return
    assert all(isinstance(text, str) for hint in hints for text in (hint.image, hint.repository, hint.branch))
    assert len(hints) <= MAX_HINTS * MAX_HINTS


def _spoilt(payload: Any, data: st.DataObject) -> Any:
    """Return a payload with something else somewhere in it."""
    if isinstance(payload, dict) and payload and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(payload)))
        return payload | {key: _spoilt(payload[key], data)}
    if isinstance(payload, list) and payload and data.draw(st.integers(0, 4)):
        return [_spoilt(payload[0], data), *payload[1:]]
    return data.draw(JSON)


@pytest.mark.parametrize("kind", FAMILY)
def test_a_name_too_long_to_be_one_hints_at_nothing(kind: str) -> None:
    case = push(kind)
    payload = json.loads(json.dumps(case["payload"]).replace("api", "a" * 3000).replace("fleet", "f" * 3000))
    assert all(len(hint.image) + len(hint.repository) < 2500 for hint in made(kind).hints(case["headers"], payload))


# --- proofs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILY)
def test_a_sender_takes_exactly_one_proof_that_it_knows(kind: str) -> None:
    entry = golden(kind)["entry"]
    for proof in ("token", "secret", "path"):
        if proof in FAMILY[kind].proofs:
            assert FAMILY[kind](**entry | {proof: "env:HOOK"})
        else:
            with pytest.raises(ValueError, match="expected one of"):
                FAMILY[kind](**entry | {proof: "env:HOOK"})
    with pytest.raises(ValueError, match="found no secret"):
        FAMILY[kind](**entry)
    with pytest.raises(ValueError, match="found path and token"):
        FAMILY[kind](**entry | {"token": "env:HOOK", "path": "env:OTHER"})


SIGNATURES = {"bitbucket": "x-hub-signature", "gitea": "x-gitea-signature"}


@pytest.mark.parametrize("kind", [kind for kind in FAMILY if "secret" in FAMILY[kind].proofs])
def test_a_signature_is_over_every_byte(kind: str) -> None:
    hook, header, body = made(kind), SIGNATURES.get(kind, "x-hub-signature-256"), b'{"a": 1}'
    prefix = "" if kind == "gitea" else "sha256="
    right = {header: prefix + digest("key", body)}
    assert hook.signed(right, body, "key")
    assert not hook.signed(right, body + b" ", "key")
    assert not hook.signed(right, body, "other")
    assert not hook.signed({}, body, "key")
    assert not hook.signed({header: prefix}, body, "key")
    assert not hook.signed({header: "sha1=" + digest("key", body)}, body, "key")


def test_the_signature_is_that_of_the_document_of_github() -> None:
    """docs.github.com, Validating webhook deliveries: the values to test an implementation with."""
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert digest("It's a Secret to Everybody", b"Hello, World!") == expected


@pytest.mark.parametrize(
    ("kind", "headers", "shown"),
    [
        ("distribution", {"authorization": "Bearer t0ken"}, "t0ken"),
        ("distribution", {"authorization": "t0ken"}, ""),
        ("acr", {"authorization": "bearer t0ken"}, "t0ken"),
        ("harbor", {"authorization": "t0ken"}, "t0ken"),
        ("harbor", {"authorization": "Bearer t0ken"}, "t0ken"),
        ("gitlab", {"x-gitlab-token": "t0ken"}, "t0ken"),
        ("gitlab", {"authorization": "Bearer t0ken"}, ""),
    ],
)
def test_where_a_sender_shows_its_token(kind: str, headers: dict[str, str], shown: str) -> None:
    assert made(kind, token="env:HOOK").shown(headers) == shown


def test_an_empty_secret_is_none() -> None:
    assert not same("", "")
    assert not same("x", "")
    assert same("ü", "ü")
    assert not same("\ud800", "ü")


@pytest.mark.parametrize("name", ["ghcr.io", "localhost:5000", "registry.example.com/team", "localhost"])
def test_a_name_of_a_registry(name: str) -> None:
    assert registry_name(name) == name


@pytest.mark.parametrize("name", ["", "acme", "https://ghcr.io", "ghcr.io/", "Ghcr.io", "index.docker.io", "a b.c"])
def test_no_name_of_a_registry(name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a registry"):
        registry_name(name)
