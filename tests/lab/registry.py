"""Registries for tests: Debian's `docker-registry` where it is installed, and the embedded one everywhere.

`open_registry` starts either behind the same face, so that every test of the client runs against both. On a machine
without the package pytest's summary says that the real one was left out; CI installs it.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import secrets
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.lab.certificates import make_certificate
from updater.demo.registry import EmbeddedRegistry, push_image
from updater.registry.client import Registry
from updater.registry.credentials.base import Credentials, Proof
from updater.transport.http import Http

Auth = Literal["open", "basic", "token"]
Flavour = Literal["docker-registry", "embedded"]

LOGIN = ("ci", "s3cret-of-the-lab")
INSTALLED = shutil.which("docker-registry") is not None and shutil.which("htpasswd") is not None
FLAVOURS = [
    pytest.param(
        "docker-registry",
        marks=pytest.mark.skipif(
            not INSTALLED, reason="left out: docker-registry is not installed; the embedded registry stands for it"
        ),
    ),
    pytest.param("embedded"),
]
"""Parameters for tests that run against every registry there is."""


class Given(Credentials):
    """A login that is at hand; it counts how often it is asked for."""

    pair: tuple[str, str]

    def login(self, repository: str, deadline: float) -> Proof:
        return Proof(*self.pair)


@dataclass(frozen=True, slots=True)
class Notify:
    """Where a `docker-registry` sends its events, and the token that it shows there."""

    url: str
    token: str


@dataclass(slots=True)
class Lab:
    """A running registry: where it is, and what a client needs to know of it."""

    flavour: Flavour
    url: str
    auth: Auth
    ca_file: Path | None
    trusted_realms: tuple[str, ...]
    _registry: EmbeddedRegistry | DebianRegistry

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def login(self) -> tuple[str, str] | None:
        return None if self.auth == "open" else LOGIN

    def push(
        self,
        repository: str,
        tags: Iterable[str],
        *,
        payload: bytes = b"hello\n",
        platforms: Sequence[str] = ("linux/amd64",),
        labels: Mapping[str, str] | None = None,
        created: str | None = None,
        attestations: bool = False,
    ) -> str:
        with Http(ca_file=self.ca_file) as http:
            return push_image(
                self.url,
                repository,
                tags,
                payload=payload,
                platforms=platforms,
                labels=labels,
                created=created,
                attestations=attestations,
                login=self.login,
                trusted_realms=self.trusted_realms,
                http=http,
            )

    def seed(self, repository: str, tags: Sequence[str]) -> str:
        """Add many tags of one image, faster than pushing them."""
        digest = self.push(repository, tags[:1])
        self._registry.seed(repository, tags, digest)
        return digest

    def client(self, http: Http, *, login: tuple[str, str] | None = None, anonymous: bool = False) -> Registry:
        pair = login or self.login
        return Registry(
            self.host,
            http=http,
            insecure=self.url.startswith("http:"),
            credentials=Given(pair=pair) if pair and not anonymous else None,
            trusted_realms=self.trusted_realms,
        )


@contextmanager
def open_registry(
    flavour: Flavour, folder: Path, *, auth: Auth = "open", tls: bool = False, notify: Notify | None = None
) -> Iterator[Lab]:
    """Run a registry; its content and certificates live in the folder. The embedded one notifies nobody."""
    certificate = make_certificate(folder, "server") if tls else None
    ca_file = certificate[0] if certificate else None
    with ExitStack() as stack:
        registry: EmbeddedRegistry | DebianRegistry
        realms: tuple[str, ...] = ()
        if flavour == "embedded":
            registry = EmbeddedRegistry(
                login=None if auth == "open" else LOGIN, auth="token" if auth == "token" else "basic", tls=certificate
            )
        else:
            tokens = None
            if auth == "token":
                tokens = TokenServer(make_certificate(folder, "tokens", rsa_key=True), tls=certificate)
                stack.callback(tokens.close)
                realms = (tokens.host,)
            registry = DebianRegistry(folder, auth=auth, tls=certificate, tokens=tokens, notify=notify)
        stack.callback(registry.close)
        yield Lab(flavour, registry.url, auth, ca_file, realms, registry)


class DebianRegistry:
    """One `docker-registry` process on a port that the kernel chose."""

    def __init__(
        self,
        folder: Path,
        *,
        auth: Auth,
        tls: tuple[Path, Path] | None,
        tokens: TokenServer | None,
        notify: Notify | None = None,
    ) -> None:
        self._root = folder / "data"
        path = folder / "config.json"  # JSON is YAML
        path.write_text(json.dumps(self._config(folder, auth, tls, tokens) | _notifications(notify)))
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._drain: threading.Thread | None = None
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port()}"

    def _config(
        self, folder: Path, auth: Auth, tls: tuple[Path, Path] | None, tokens: TokenServer | None
    ) -> dict[str, object]:
        web: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "lab"}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._root)}, "delete": {"enabled": True}},
            "http": web,
        }
        if tls:
            web["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        if auth == "basic":
            config["auth"] = {"htpasswd": {"realm": "lab", "path": str(_htpasswd(folder))}}
        elif tokens:
            config["auth"] = {"token": tokens.config}
        return config

    def _port(self) -> int:
        """Read the log until it names the port; then have a thread read on, so that the pipe never fills."""
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            seen.append(line)
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                self._drain = threading.Thread(target=self._process.stdout.read, daemon=True)
                self._drain.start()
                return int(found[1])
        self.close()
        raise RuntimeError(f"docker-registry did not start: {''.join(seen)[-2000:]}")

    def seed(self, repository: str, tags: Sequence[str], digest: str) -> None:
        """Add tags of a manifest that was pushed, on disk: a push takes about 10 ms each."""
        algorithm, _, value = digest.partition(":")
        folder = self._root / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        for tag in tags:
            for link in (folder / tag / "current/link", folder / tag / "index" / algorithm / value / "link"):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.write_text(digest)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        if self._drain:
            self._drain.join(10)
        if self._process.stdout:
            self._process.stdout.close()


def _notifications(notify: Notify | None) -> dict[str, object]:
    if notify is None:
        return {}
    endpoint: dict[str, object] = {"name": "updater", "url": notify.url, "timeout": "5s", "threshold": 3}
    endpoint |= {"backoff": "200ms", "headers": {"Authorization": [f"Bearer {notify.token}"]}}
    return {"notifications": {"endpoints": [endpoint]}}


def _htpasswd(folder: Path) -> Path:
    path = folder / "htpasswd"
    path.touch()
    name, password = LOGIN
    subprocess.run(
        ["htpasswd", "-iB", "-C", "4", str(path), name], input=password.encode(), check=True, capture_output=True
    )
    return path


class TokenServer:
    """The token service of a `docker-registry`: RS256 tokens whose header carries the signing certificate."""

    def __init__(self, signing: tuple[Path, Path], *, tls: tuple[Path, Path] | None = None) -> None:
        crt, key = signing
        server = _TokenHttpServer(crt, key.read_bytes())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.issued = server.issued
        self._server = server
        self.host = f"127.0.0.1:{server.server_address[1]}"
        self.config = {
            "realm": f"{'https' if tls else 'http'}://{self.host}/token",
            "service": "lab-registry",
            "issuer": "lab",
            "rootcertbundle": str(crt),
        }
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _TokenHttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, crt: Path, key: bytes) -> None:
        der = x509.load_pem_x509_certificate(crt.read_bytes()).public_bytes(serialization.Encoding.DER)
        self.key, self.chain = key, [base64.b64encode(der).decode()]
        self.issued: list[str] = []
        super().__init__(("127.0.0.1", 0), _TokenHandler)

    def token(self, query: dict[str, list[str]], *, known: bool) -> str:
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",") if known else []})
            self.issued.append(scope)
        now = int(time.time())
        claims = {
            "iss": "lab", "sub": "", "aud": query.get("service", [""])[0], "iat": now, "nbf": now - 10,
            "exp": now + 300, "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"x5c": self.chain})


class _TokenHandler(http.server.BaseHTTPRequestHandler):
    server: _TokenHttpServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
        given = self.headers.get("Authorization")
        if given not in {None, expected}:
            self.send_error(401)
            return
        body = json.dumps({"token": self.server.token(parse_qs(urlsplit(self.path).query), known=given is not None)})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
