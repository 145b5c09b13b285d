"""Docker's config.json: which entry holds for a repository, and what stands in it. Bytes in, logins out.

Whoever writes the file is trusted with logins, but not to write it well: what is off is said with its key, never
with its value.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from updater.model.image import ImageRef
from updater.registry.credentials.base import Proof
from updater.secrets import remember

IDENTITY = "<token>"  # the user name that says: the password is an identity token
MAX_KEY = 512  # characters

_PROGRAM = re.compile(r"[a-z0-9-]{1,64}")
_VERSION = re.compile(r"^/v[12](?=/|$)")  # `https://index.docker.io/v1/`, as Docker wrote keys in its first years


class NoConfig(ValueError):
    """What the file holds is no configuration of Docker: which key is off and what was expected, never a value."""


@dataclass(frozen=True, slots=True)
class DockerFile:
    """What a config.json says; entries are looked at when they are needed."""

    auths: Mapping[str, Any]
    programs: Mapping[str, Any]
    store: Any

    @classmethod
    def parse(cls, data: bytes) -> DockerFile:
        """Read a file. Raises NoConfig."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            raise NoConfig("found something that is not JSON, expected Docker's config.json") from None
        if not isinstance(document, dict):
            raise NoConfig(f"found {_kind(document)}, expected an object with auths, credHelpers or credsStore")
        return cls(_object(document, "auths"), _object(document, "credHelpers"), document.get("credsStore"))

    def program(self, host: str) -> str | None:
        """Return the name of the program that knows the logins of a host, None where none does. Raises NoConfig."""
        named = [(key, name) for key, name in self.programs.items() if _place(key) == (host, "")]
        key, name = (f'credHelpers."{_shown(named[0][0])}"', named[0][1]) if named else ("credsStore", self.store)
        if name is None or name == "":
            return None
        if not isinstance(name, str) or not _PROGRAM.fullmatch(name):
            raise NoConfig(f"{key}: expected the end of a program's name: small letters, digits and dashes")
        return name

    def auth(self, host: str, repository: str) -> Proof | None:
        """Return the login of the entry that holds for a repository, None for no login. Raises NoConfig.

        The longest path wins, then a host over a pattern of hosts, then an entry that holds something.
        """
        fitting = list(self._fitting(host, repository))
        if not fitting:
            return None
        key = max(fitting)[-1]
        return _proof(self.auths[key], f'auths."{_shown(key)}"')

    def _fitting(self, host: str, repository: str) -> Iterator[tuple[int, bool, bool, str]]:
        for key, entry in self.auths.items():
            place, path = _place(key)
            if _is(place, host) and (not path or f"{repository}/".startswith(f"{path}/")):
                yield len(path), "*" not in place, bool(entry), key


def _place(key: str) -> tuple[str, str]:
    """Return host and path that a key means; every name of Docker Hub is docker.io, what is no host is empty."""
    host, slash, path = key.rpartition("://")[2].lower().partition("/")
    if len(key) > MAX_KEY or not ("." in host or ":" in host or host == "localhost"):
        return "", ""
    if "*" not in host:
        try:
            host = ImageRef.parse(f"{host}/x/x").registry
        except ValueError:
            return "", ""
    return host, _VERSION.sub("", f"{slash}{path}", count=1).strip("/")


def _is(place: str, host: str) -> bool:
    """Say whether a host is the one that is meant; a `*` stands for any text within one label, as for the kubelet."""
    if "*" not in place:
        return place == host
    labels, wanted = host.split("."), place.split(".")
    return len(labels) == len(wanted) and all(map(fnmatchcase, labels, wanted))


def _proof(entry: Any, where: str) -> Proof | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise NoConfig(f"{where}: found {_kind(entry)}, expected an object")
    fields = ("username", "password", "auth", "identitytoken", "registrytoken")
    username, password, auth, identity, bearer = (_text(entry, name, where) for name in fields)
    if auth:
        username, password = _pair(auth, f"{where}.auth")
    try:
        return proof_of(username, password, identity, bearer)
    except NoConfig as err:
        raise NoConfig(f"{where}: {err}") from None


def proof_of(username: str, password: str, identity: str = "", bearer: str = "") -> Proof | None:
    """Return the login that Docker's fields mean, None where they hold none; from now on `redact` blanks it.

    Raises NoConfig.
    """
    try:
        f"{username}{password}{identity}{bearer}".encode()
    except UnicodeEncodeError:
        raise NoConfig("found half a character, expected text") from None
    if username == IDENTITY:
        username, password, identity = "", "", identity or password
    for secret in filter(None, (password, identity, bearer)):
        remember(secret)
    return Proof(username, password, identity, bearer) if username or password or identity or bearer else None


def _pair(auth: str, where: str) -> tuple[str, str]:
    try:
        username, colon, password = b64decode("".join(auth.split()), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise NoConfig(f"{where}: expected the base64 form of user:password")
    return username, password.strip("\0")  # as Docker does: old versions padded it


def _text(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NoConfig(f"{where}.{name}: found {_kind(value)}, expected a text")
    return value


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, dict):
        raise NoConfig(f"{name}: found {_kind(value)}, expected an object")
    return value or {}


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(key: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in key)[:100]
