"""A GitHub App logs in at Git and at the API with tokens of an hour."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.lab.forge import BRANCH, REPOSITORY, TARGET, Yard, app, keys, yard
from updater import secrets
from updater.demo.services.base import say
from updater.errors import ForgeError, GitError
from updater.git.clone import Clone
from updater.git.credentials.base import Login
from updater.git.credentials.github_app import GitHubApp, jwt
from updater.git.remote import Remote
from updater.secrets import SecretError, SecretRef, redact


class Clock:
    """The time of the forge and of our side."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


def login(folder: Path, key: bytes | None = None, **others: Any) -> GitHubApp:
    path = folder / "app.pem"
    path.write_bytes(key or keys()[0])
    return GitHubApp(app_id=7, private_key=SecretRef(f"file:{path}"), **others)


@contextmanager
def site(folder: Path, **others: Any) -> Iterator[tuple[Yard, GitHubApp, Clock]]:
    """Yield a forge, the login of its repository, and the clock that both go by."""
    clock, credentials = Clock(), login(folder, **others)
    with yard(folder, "github", credentials, app=app(), tokens=(), now=clock) as there:
        bound = there.client._api._credentials
        assert isinstance(bound, GitHubApp)
        assert bound._tokens is not None
        bound._tokens._now = clock
        yield there, bound, clock


def count(there: Yard, end: str) -> int:
    return sum(asked.path.endswith(end) for asked in there.forge.asked)


def test_the_proof_is_one_that_others_accept(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made = jwt(7, login(tmp_path).private_key, now)
    claims = pyjwt.decode(made, keys()[1], algorithms=["RS256"], options={"verify_iat": True})
    assert claims["iss"] == "7"
    assert claims["iat"] <= now.timestamp()
    assert claims["exp"] - claims["iat"] <= 600
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(made[:-8] + "AAAAAAAA", keys()[1], algorithms=["RS256"])


def test_the_installation_is_found_by_the_repository(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, _):
        assert there.client.requests(BRANCH, TARGET) == ()
        assert count(there, "/installation") == 1
        [asked] = [asked for asked in there.forge.asked if asked.path == "/app/installations/42/access_tokens"]
        assert asked.body == {"repositories": ["fleet"]}  # of all that the app may touch
        assert bound.login().token in there.forge.door.issued


def test_an_installation_that_is_named_is_not_looked_up(tmp_path: Path) -> None:
    with site(tmp_path, installation_id=42) as (there, _, _clock):
        assert there.client.requests(BRANCH, TARGET) == ()
        assert count(there, "/installation") == 0


def test_the_token_is_kept_until_five_minutes_before_its_end(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, clock):
        first = bound.login().token
        clock.now += timedelta(minutes=54)
        assert bound.login().token == first
        clock.now += timedelta(minutes=2)
        assert bound.login().token != first
        assert count(there, "/access_tokens") == 2


def test_one_thread_fetches_the_token_for_all(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, _), ThreadPoolExecutor(8) as pool:
        tokens = {login.token for login in pool.map(lambda _: bound.login(), range(16))}
        assert len(tokens) == 1
        assert count(there, "/access_tokens") == 1


def test_the_api_renews_a_token_that_was_taken_back(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, _):
        first = bound.login().token
        there.forge.door.revoke()
        assert there.client.requests(BRANCH, TARGET) == ()
        assert bound.login().token != first
        assert count(there, "/access_tokens") == 2


def test_it_is_renewed_once(tmp_path: Path) -> None:
    with site(tmp_path) as (there, _, _clock):
        there.forge.script = lambda asked: say({"message": "Bad"}, 401) if asked.path.endswith("/pulls") else None
        with pytest.raises(ForgeError, match="401") as caught:
            there.client.requests(BRANCH, TARGET)
        assert caught.value.refused
        assert (count(there, "/pulls"), count(there, "/access_tokens")) == (2, 2)


def test_a_token_that_somebody_renewed_is_not_thrown_away(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, _):
        old = bound.login()
        there.forge.door.revoke()
        assert bound.renew(old)
        new = bound.login()
        assert bound.renew(old)  # another thread, a moment later
        assert bound.login() == new


def test_secrets_that_ended_are_not_kept_for_ever(tmp_path: Path) -> None:
    """The daemon runs for months, and every text is searched for what is remembered."""
    with site(tmp_path) as (_, bound, clock):
        first = bound.login()
        assert redact(f"{first.token} {first.header}") == "*** Authorization: Basic ***"
        known = len(secrets._known)
        for _hour in range(5):
            clock.now += timedelta(hours=1)
            last = bound.login()
        assert len(secrets._known) == known
        assert redact(f"{last.token} {last.header}") == "*** Authorization: Basic ***"


def test_git_logs_in_with_the_same_token_and_renews_it(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, _):
        clone = Clone(tmp_path / "clone", Remote("fleet", there.url, credentials=bound))
        with clone.lock():
            assert clone.fetch().revision == there.hosted.tip(TARGET)
            there.forge.door.revoke()
            assert clone.fetch().revision == there.hosted.tip(TARGET)
        assert count(there, "/access_tokens") == 2


def test_git_says_why_there_is_no_login(tmp_path: Path) -> None:
    with site(tmp_path) as (there, bound, _):
        assert there.forge.door.app is not None
        there.forge.door.app.installations.clear()
        clone = Clone(tmp_path / "clone", Remote("fleet", there.url, credentials=bound))
        with clone.lock(), pytest.raises(GitError, match=f"the GitHub App 7 is not installed at {REPOSITORY}"):
            clone.fetch()


def test_another_key_is_refused_in_githubs_words(tmp_path: Path) -> None:
    with yard(tmp_path, "github", login(tmp_path), app=app()) as there:
        assert there.forge.door.app is not None
        there.forge.door.app.id = 8
        with pytest.raises(ForgeError, match="public key") as caught:
            there.client.requests(BRANCH, TARGET)
        assert caught.value.refused


def _bad(kind: str) -> bytes:
    if kind == "text":
        return b"canary-that-is-no-key-at-all"
    if kind == "elliptic":
        key = generate_private_key(SECP256R1())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if kind == "locked":
        rsa = load_pem_private_key(keys()[0], None)
        return rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    return keys()[1]


@pytest.mark.parametrize("kind", ["text", "elliptic", "locked", "public"])
def test_what_is_no_key_is_said_without_showing_it(tmp_path: Path, kind: str) -> None:
    with site(tmp_path, key=_bad(kind)) as (there, _, _clock):
        with pytest.raises(SecretError, match="no private RSA key") as caught:
            there.client.requests(BRANCH, TARGET)
        assert "canary" not in f"{caught.value}"
        assert there.forge.asked == []


def test_no_secret_of_it_comes_into_an_error(tmp_path: Path) -> None:
    """The forge echoes the token, and the proof before it."""
    with site(tmp_path) as (there, bound, _):
        seen: list[str] = []

        def script(asked: Any) -> Any:
            seen.append(asked.headers["authorization"].partition(" ")[2])
            ours = asked.path.startswith("/app/") or asked.path.endswith("/installation")
            return None if ours and len(seen) < 3 else say({"message": " ".join(seen)}, 500)

        there.forge.script = script
        with pytest.raises(ForgeError) as caught:
            there.client.requests(BRANCH, TARGET)
        assert len(set(seen)) >= 2
        assert not [secret for secret in seen if secret in f"{caught.value!r} {caught.value}"]
        assert bound.login().token not in repr(bound)


def test_it_is_of_no_use_but_at_a_repository(tmp_path: Path) -> None:
    unbound = login(tmp_path)
    with pytest.raises(ForgeError) as caught:
        unbound.login()
    assert caught.value.refused
    assert not unbound.renew(Login())
