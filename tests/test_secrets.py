"""Secrets are references, read when they are used, and their values appear nowhere."""

import base64
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from updater.secrets import MAX_SECRET, SecretError, SecretRef, redact, remember


class Holder(BaseModel):
    password: SecretRef


def test_a_variable_is_read_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = SecretRef.parse("env:CANARY_ONE")
    monkeypatch.setenv("CANARY_ONE", "first-value")
    assert secret.resolve() == "first-value"
    monkeypatch.setenv("CANARY_ONE", "second-value")
    assert secret.resolve() == "second-value"


def test_a_variable_that_is_not_utf_8_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_BYTES", b"pa55\xff".decode(errors="surrogateescape"))
    with pytest.raises(SecretError, match="secret env:CANARY_BYTES is not UTF-8 text"):
        SecretRef.parse("env:CANARY_BYTES").resolve()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"pa55-word\n", "pa55-word"),
        (b"pa55-word\r\n", "pa55-word"),
        (b"pa55-word\n\n", "pa55-word\n"),
        (b"pa55 word", "pa55 word"),
    ],
    ids=["one line end is dropped", "also of two characters", "only one", "blanks are kept"],
)
def test_a_file_is_read_when_it_is_used(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert SecretRef.parse("file:secret", tmp_path).resolve() == value


@pytest.mark.parametrize(
    ("reference", "content", "why"),
    [
        ("env:CANARY_UNSET", None, "empty or not set"),
        ("file:missing", None, "cannot be read: No such file"),
        ("file:secret", b"", "empty or not set"),
        ("file:secret", b"\xff\xfe", "not UTF-8"),
        ("file:secret", b"x" * (MAX_SECRET + 1), "larger than"),
    ],
    ids=["unset", "no file", "empty file", "bytes", "too large"],
)
def test_what_cannot_be_read_is_said_without_the_value(
    tmp_path: Path, reference: str, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SecretError, match=why):
        SecretRef.parse(reference, tmp_path).resolve()


@pytest.mark.parametrize(
    "literal", ["hunter2hunter2", "", "env:", "env:a b", "file:", "k8s:ns/x#y", "vault:x", 7, None]
)
def test_a_literal_is_refused_and_not_repeated(literal: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"password": literal})
    message = caught.value.errors(include_input=False)[0]["msg"]
    assert "expected env:NAME or file:/path" in message
    assert "hunter2" not in message


def test_a_reference_prints_as_stars() -> None:
    holder = Holder(password=SecretRef.parse("env:CANARY_ONE"))
    assert "CANARY" not in repr(holder)
    assert holder.model_dump_json() == '{"password":"***"}'


@pytest.mark.parametrize(
    "text",
    [
        "said s3cr3t-c4nary/+ aloud",
        "header " + base64.b64encode(b"s3cr3t-c4nary/+").decode(),
        "url s3cr3t-c4nary%2F%2B",
        "fetch https://user:s3cr3t-c4nary/+@host/x",
        "fetch https://ghp_neverremembered@host/x",
    ],
    ids=["plain", "base64", "quoted for a URL", "inside a URL", "any userinfo"],
)
def test_redaction(text: str) -> None:
    remember("s3cr3t-c4nary/+")
    assert "c4nary" not in redact(text)
    assert "neverremembered" not in redact(text)
    assert base64.b64encode(b"s3cr3t-c4nary/+").decode() not in redact(text)


def test_ordinary_text_is_left_alone() -> None:
    remember("ab")
    assert redact("abc https://ghcr.io/acme@sha256 git@host:path") == "abc https://ghcr.io/acme@sha256 git@host:path"
