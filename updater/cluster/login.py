"""Where a cluster is and who we are there: read from a kubeconfig, or from the pod that we run in."""

from __future__ import annotations

import base64
import binascii
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from updater.cluster.credentials import MAX_FILE, Credential, Kept, Source
from updater.cluster.plugin import API_VERSIONS, Command, Plugin
from updater.cluster.wire import Identity, Server
from updater.errors import ConfigError, Problem
from updater.transport.proxies import Routes

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_KUBECONFIG = 1 << 20  # characters
_CLUSTER_INFO = (  # what a plugin may be told
    "server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach one cluster. Nothing is run before it is needed. `warnings` are worth telling the operator."""

    server: Server
    source: Source
    warnings: tuple[str, ...] = ()

    def through(self, routes: Routes, authorities: str = "") -> Login:
        """Return it with the network's settings, where the kubeconfig has none of its own.

        authorities   PEM of what is trusted then, the system's authorities with it
        """
        url, server = urlsplit(self.server.url), self.server
        port = url.port or (443 if url.scheme == "https" else 80)
        proxy = server.proxy or routes.proxy(url.scheme, url.hostname or "", port) or ""
        return replace(self, server=replace(server, proxy=proxy, authority=server.authority or authorities))


def in_cluster(folder: Path = SERVICE_ACCOUNT, environment: Mapping[str, str] | None = None) -> Login:
    """Return the login of the pod that we run in; its token is read again as it changes. Raises ConfigError."""
    variables = os.environ if environment is None else environment
    host, port = variables.get("KUBERNETES_SERVICE_HOST"), variables.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise _mistake("in_cluster", "", "no KUBERNETES_SERVICE_HOST", "to run in a pod of a cluster")
    if not (folder / "token").is_file():
        raise _mistake(str(folder), "", "no token", "the token of a service account; is it mounted?")
    authority = _authority(folder / "ca.crt", str(folder))
    address = f"[{host}]" if ":" in host else host
    return Login(Server(f"https://{address}:{port}", authority), Kept(token_file=folder / "token"))


def kubeconfig(
    text: str, context: str | None, allowed: Sequence[str], folder: Path, *, file: str = "kubeconfig"
) -> Login:
    """Read one context of a kubeconfig, the current one by default. Raises ConfigError, which holds no secret.

    allowed  the commands that it may run to log in: whole paths, or names that are found on PATH
    folder   what relative paths in it count from
    file     what to call it in errors
    """
    return _Reader(file, folder, allowed).read(text, context)


def _mistake(file: str, where: str, found: str, expected: str) -> ConfigError:
    return ConfigError([Problem(file, 0, 0, where, found, expected)])


class _Reader:
    def __init__(self, file: str, folder: Path, allowed: Iterable[str]) -> None:
        self._file, self._folder, self._allowed = file, folder, tuple(allowed)

    def read(self, text: str, context: str | None) -> Login:
        document = self._document(text)
        name = context or self._text(document, "current-context", "current-context", needed=True)
        chosen = self._entry(document, "contexts", "context", name)
        where = f"contexts[{name}]"
        cluster_name = self._text(chosen, "cluster", f"{where}.cluster", needed=True)
        user_name = self._text(chosen, "user", f"{where}.user")
        cluster = self._entry(document, "clusters", "cluster", cluster_name)
        user = self._entry(document, "users", "user", user_name) if user_name else {}
        server = self._server(cluster, f"clusters[{cluster_name}]")
        warnings = () if server.verify else (f"nobody verifies who answers as {server.url}: insecure-skip-tls-verify",)
        return Login(server, self._source(user, cluster, f"users[{user_name}]"), warnings)

    def _document(self, text: str) -> dict[str, Any]:
        if len(text) > MAX_KUBECONFIG:
            raise self._wrong("", f"more than {MAX_KUBECONFIG} characters", "a kubeconfig")
        try:
            document = yaml.load(text, yaml.CSafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as err:
            mark = getattr(err, "problem_mark", None)
            line = mark.line + 1 if mark else 0
            raise ConfigError([Problem(self._file, line, 1 if line else 0, "", "no YAML", "a kubeconfig")]) from None
        if not isinstance(document, dict):
            raise self._wrong("", "something else", "a kubeconfig")
        return document

    def _entry(self, document: Mapping[str, Any], plural: str, singular: str, name: str) -> Mapping[str, Any]:
        listed = document.get(plural)
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        for entry in entries:
            if str(entry.get("name")) == name:
                inner = entry.get(singular) or {}
                if isinstance(inner, dict):
                    return inner
        names = ", ".join(sorted(str(entry.get("name")) for entry in entries)[:20]) or "none"
        raise self._wrong(plural, f"no {singular} {name[:80]!r}", f"one of: {names}")

    def _text(self, mapping: Mapping[str, Any], name: str, where: str, *, needed: bool = False) -> str:
        value = mapping.get(name)
        if value is None or value == "":
            if needed:
                raise self._wrong(where, "nothing", "a text")
            return ""
        if not isinstance(value, str):
            raise self._wrong(where, f"a {type(value).__name__}", "a text")
        return value

    def _server(self, cluster: Mapping[str, Any], where: str) -> Server:
        url = self._text(cluster, "server", f"{where}.server", needed=True).rstrip("/")
        self._check_address(url, f"{where}.server")
        authority = self._pem(cluster, "certificate-authority", where)
        insecure = cluster.get("insecure-skip-tls-verify") or False
        if not isinstance(insecure, bool):
            raise self._wrong(f"{where}.insecure-skip-tls-verify", "something else", "true or false")
        if insecure and authority:
            raise self._wrong(where, "insecure-skip-tls-verify beside a certificate-authority", "one of the two")
        proxy = self._text(cluster, "proxy-url", f"{where}.proxy-url")
        if proxy:
            self._check_address(proxy, f"{where}.proxy-url")
        name = self._text(cluster, "tls-server-name", f"{where}.tls-server-name")
        return Server(url, authority, verify=not insecure, name=name, proxy=proxy)

    def _check_address(self, text: str, where: str) -> None:
        try:
            parts = urlsplit(text)
            sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound or not text.isprintable() or " " in text:
            raise self._wrong(where, "an address that cannot be asked", "http:// or https://, and a host")
        if where.endswith(".server") and (parts.username or parts.query or parts.fragment):
            raise self._wrong(where, "an address with a login, query or fragment", "https://host:port[/path]")

    def _source(self, user: Mapping[str, Any], cluster: Mapping[str, Any], where: str) -> Source:
        for name, instead in _REFUSED.items():
            if user.get(name):
                raise self._wrong(f"{where}.{name}", "a way to log in that is not supported", instead)
        if user.get("exec"):
            return Plugin(self._command(user["exec"], cluster, f"{where}.exec"))
        certificate, key = (self._data(user, name, where) for name in ("client-certificate", "client-key"))
        files = {name: self._path(user, name, where) for name in ("client-certificate", "client-key")}
        token_file = self._path(user, "tokenFile", where)
        given = Credential(self._text(user, "token", f"{where}.token").strip(), Identity(certificate, key))
        source = Kept(
            given,
            token_file=token_file,
            certificate_file=None if certificate else files["client-certificate"],
            key_file=None if key else files["client-key"],
        )
        if bool(certificate or files["client-certificate"]) != bool(key or files["client-key"]):
            raise self._wrong(where, "a client certificate without its key, or a key alone", "both or neither")
        return source

    def _command(self, entry: Any, cluster: Mapping[str, Any], where: str) -> Command:
        if not isinstance(entry, dict):
            raise self._wrong(where, "something else", "a command with arguments")
        version = self._text(entry, "apiVersion", f"{where}.apiVersion", needed=True)
        if version not in API_VERSIONS:
            raise self._wrong(f"{where}.apiVersion", repr(version[:80]), " or ".join(API_VERSIONS))
        if entry.get("interactiveMode") == "Always":
            raise self._wrong(f"{where}.interactiveMode", "Always", "Never or IfAvailable: nobody sits at a terminal")
        arguments = entry.get("args") or []
        if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
            raise self._wrong(f"{where}.args", "something else", "a list of texts")
        told = (
            {name: cluster[name] for name in _CLUSTER_INFO if cluster.get(name)}
            if entry.get("provideClusterInfo")
            else None
        )
        return Command(
            self._program(self._text(entry, "command", f"{where}.command", needed=True), f"{where}.command"),
            tuple(arguments),
            self._environment(entry.get("env"), f"{where}.env"),
            version,
            told if entry.get("provideClusterInfo") else None,
        )

    def _program(self, command: str, where: str) -> str:
        """Return the whole path of a command on the operator's list."""
        path = self._found(command)
        if path is None or path not in {self._found(entry) for entry in self._allowed}:
            listed = ", ".join(self._allowed) or "none is allowed"
            why = "" if path else ", which is not on this machine"
            raise self._wrong(where, f"{command[:200]!r}{why}", f"a command on the cluster's list `exec`: {listed}")
        return path

    def _found(self, command: str) -> str | None:
        if "/" not in command:
            return shutil.which(command)
        path = Path(os.path.normpath(self._folder / command))  # not resolved: a link is as good as what it names
        return str(path.absolute()) if path.is_file() and os.access(path, os.X_OK) else None

    def _environment(self, entries: Any, where: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in entries or ():
            name, value = (entry.get("name"), entry.get("value")) if isinstance(entry, dict) else (None, None)
            if (
                not isinstance(name, str)
                or not isinstance(value, str)
                or not name
                or "=" in name
                or "\0" in name + value
            ):
                raise self._wrong(where, "something else", "a list of {name, value}, both texts")
            found[name] = value
        return found

    def _pem(self, mapping: Mapping[str, Any], name: str, where: str) -> str:
        """Return PEM that stands in the kubeconfig, or in a file that it names."""
        data, path = self._data(mapping, name, where), self._path(mapping, name, where)
        return data or (_authority(path, self._file) if path else "")

    def _data(self, mapping: Mapping[str, Any], name: str, where: str) -> str:
        text = self._text(mapping, f"{name}-data", f"{where}.{name}-data")
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode("ascii")
        except (binascii.Error, ValueError):
            raise self._wrong(f"{where}.{name}-data", "no base64 of PEM", "PEM in base64") from None

    def _path(self, mapping: Mapping[str, Any], name: str, where: str) -> Path | None:
        text = self._text(mapping, name, f"{where}.{name}")
        if "\0" in text:
            raise self._wrong(f"{where}.{name}", "a null character", "a path")
        return self._folder / text if text else None

    def _wrong(self, where: str, found: str, expected: str) -> ConfigError:
        return _mistake(self._file, where, found, expected)


_REFUSED = {
    "username": "a token, a client certificate or exec: API servers know no passwords since 1.19",
    "password": "a token, a client certificate or exec: API servers know no passwords since 1.19",
    "auth-provider": "exec: clients have dropped auth-provider",
    "as": "`impersonate` beside the kubeconfig",
    "as-user-extra": "`impersonate` beside the kubeconfig",
    "as-groups": "`impersonate` beside the kubeconfig",
    "as-uid": "`impersonate` beside the kubeconfig",
}


def _authority(path: Path, file: str) -> str:
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_FILE + 1)
        text = data.decode("ascii")
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or "not PEM"
        raise _mistake(
            file, "certificate-authority", f"{path}, which cannot be read ({why})", "a file with PEM"
        ) from None
    if len(data) > MAX_FILE:
        raise _mistake(file, "certificate-authority", f"{path}, larger than {MAX_FILE} bytes", "a file with PEM")
    return text
