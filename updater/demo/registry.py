"""An OCI registry in a thread: the read and push paths of the distribution API, small but real.

It pages its tag lists, checks every digest, asks for a login where one is set, and remembers what it was asked.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import parse_qs, quote, urlsplit

from updater.demo.image import INDEX, MANIFEST, push_image, small_image
from updater.model.image import is_digest, is_tag

__all__ = ["EmbeddedRegistry", "Request", "push_image"]

MAX_BODY = 64 << 20  # bytes of one request
_NAME = r"(?P<name>[a-z0-9._/-]+)"
_ROUTES = tuple(
    (frozenset(methods.split()), re.compile(pattern), route)
    for methods, pattern, route in (
        ("GET HEAD", r"/v2/", "ping"),
        ("GET", r"/token", "token"),
        ("GET", rf"/v2/{_NAME}/tags/list", "tags"),
        ("GET HEAD", rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)", "manifest"),
        ("PUT", rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)", "put_manifest"),
        ("DELETE", rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)", "delete_manifest"),
        ("GET HEAD", rf"/v2/{_NAME}/blobs/(?P<digest>[a-z0-9]+:[a-f0-9]+)", "blob"),
        ("POST", rf"/v2/{_NAME}/blobs/uploads/", "start_upload"),
        ("PATCH PUT", rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]+)", "upload"),
    )
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came, and the status of its answer."""

    method: str
    path: str
    authorization: str
    status: int


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def _error(status: int, code: str, message: str, *headers: tuple[str, str]) -> _Reply:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return _Reply(status, body, (("Content-Type", "application/json"), *headers))


class EmbeddedRegistry:
    """Serves until `close`; a context manager.

    folder      where it keeps its content; without one everything is in memory
    login       user name and password that it asks for; None: open
    auth        how it asks: Basic, or Bearer with its own token service
    anonymous_pull   whether the token service lets everyone pull
    token_seconds    how long a token lives
    tls         certificate and key
    page_size   tags in a page at most, and where the client asks for no number; None: all
    requests    what it was asked, in the order of the answers
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        login: tuple[str, str] | None = None,
        auth: Literal["basic", "token"] = "basic",
        anonymous_pull: bool = False,
        token_seconds: float = 300,
        tls: tuple[Path, Path] | None = None,
        page_size: int | None = None,
        port: int = 0,
    ) -> None:
        self.login, self.auth, self.anonymous_pull, self.token_seconds = login, auth, anonymous_pull, token_seconds
        self.page_size = page_size
        self.requests: list[Request] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, dict[str, str]] = {}  # repository -> digest -> media type
        self.tags: dict[str, dict[str, str]] = {}  # repository -> tag -> digest
        self.uploads: dict[str, bytes] = {}
        self.tokens: dict[str, tuple[float, frozenset[str]]] = {}  # token -> its end, what it lets do
        self.lock = threading.RLock()
        self._folder = folder
        self._load()
        self._server = _Server(self, port, tls)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="registry")
        self._thread.start()

    def seed(self, repository: str, tags: Sequence[str], digest: str | None = None) -> str:
        """Add tags of one manifest directly: that of `digest`, else that of a new small image. Return the digest."""
        with self.lock:
            if digest is None:
                image = small_image(f"{repository}\n".encode())
                self.blobs.update(image.blobs)
                digest = self.keep_manifest(repository, MANIFEST, image.manifest)
            self.tags.setdefault(repository, {}).update(dict.fromkeys(tags, digest))
            self._save()
        return digest

    def keep_manifest(self, repository: str, media_type: str, body: bytes, tag: str | None = None) -> str:
        """Keep a manifest, with a tag where one is given; return its digest."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        with self.lock:
            self.blobs[digest] = body
            self.manifests.setdefault(repository, {})[digest] = media_type
            tags = self.tags.setdefault(repository, {})
            if tag is not None:
                tags[tag] = digest
                self._save()
        return digest

    def _load(self) -> None:
        if self._folder and (index := self._folder / "index.json").exists():
            kept = json.loads(index.read_text())
            self.manifests, self.tags = kept["manifests"], kept["tags"]
            for path in (self._folder / "blobs").iterdir():
                self.blobs[f"sha256:{path.name}"] = path.read_bytes()

    def _save(self) -> None:
        if self._folder is None:
            return
        blobs = self._folder / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        for digest, body in self.blobs.items():
            if not (path := blobs / digest.removeprefix("sha256:")).exists():
                path.write_bytes(body)
        (self._folder / "index.json").write_text(json.dumps({"manifests": self.manifests, "tags": self.tags}))

    def close(self) -> None:
        """Stop, and cut every connection."""
        self._server.shutdown()
        self._server.cut()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, registry: EmbeddedRegistry, port: int, tls: tuple[Path, Path] | None) -> None:
        self.registry = registry
        self._open: set[socket.socket] = set()
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        if self._tls:  # the handshake happens with the first read, in the connection's own thread
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is gone already

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or does not trust the certificate, is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing: the registry keeps its requests."""

    def _serve(self) -> None:
        body = self._body()
        reply = self._route(body) if body is not None else _error(413, "SIZE_INVALID", f"more than {MAX_BODY} bytes")
        asked = Request(self.command, self.path, self.headers.get("Authorization", ""), reply.status)
        self.server.registry.requests.append(asked)
        self.send_response(reply.status)
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        for name, value in reply.headers:
            self.send_header(name, value)
        if "Content-Length" not in dict(reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _body(self) -> bytes | None:
        """Read the whole body, so that the connection can go on; None when it is too large."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            self.close_connection = length > MAX_BODY
            return None if self.close_connection else self.rfile.read(length)
        body = b""
        while size := int(self.rfile.readline(32).partition(b";")[0], 16):
            if len(body) + size > MAX_BODY:
                self.close_connection = True
                return None
            body += self.rfile.read(size)
            self.rfile.readline(8)
        self.rfile.readline(8)
        return body

    def _route(self, body: bytes) -> _Reply:
        parts = urlsplit(self.path)
        self.query: Mapping[str, list[str]] = parse_qs(parts.query)
        for methods, pattern, route in _ROUTES:
            if (found := pattern.fullmatch(parts.path)) and self.command in methods:
                name = found.groupdict().get("name", "")
                if route != "token" and (refusal := self._refusal(name)):
                    return refusal
                with self.server.registry.lock:
                    reply: _Reply = getattr(self, f"_{route}")(body, **found.groupdict())
                return reply
        return _error(404, "UNSUPPORTED", "no such address")

    def _refusal(self, name: str) -> _Reply | None:
        """Return the challenge that this request must answer first, None when it may pass."""
        registry = self.server.registry
        if registry.login is None:
            return None
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if registry.auth == "basic":
            if scheme.lower() == "basic" and value == _basic(registry.login):
                return None
            challenge = 'Basic realm="embedded"'
        else:
            scope = f"repository:{name}:{'pull' if self.command in {'GET', 'HEAD'} else 'pull,push'}" if name else ""
            until, allowed = registry.tokens.get(value, (0.0, frozenset()))
            wanted = {f"{name}:{action}" for action in scope.rpartition(":")[2].split(",")} if name else set()
            if time.monotonic() < until and wanted <= allowed:
                return None
            challenge = f'Bearer realm="{registry.url}/token",service="{registry.host}"'
            challenge += f',scope="{scope}"' if scope else ""
        return _error(401, "UNAUTHORIZED", "a login is needed", ("WWW-Authenticate", challenge))

    def _token(self, _body: bytes) -> _Reply:
        registry = self.server.registry
        header = self.headers.get("Authorization", "")
        known = registry.login is not None and header == f"Basic {_basic(registry.login)}"
        if header and not known:
            return _error(401, "UNAUTHORIZED", "wrong user name or password")
        allowed = set()
        for scope in " ".join(self.query.get("scope", [])).split():
            _, name, actions = (*scope.split(":"), "", "")[:3]
            granted = actions.split(",") if known else ["pull"] if registry.anonymous_pull else []
            allowed |= {f"{name}:{action}" for action in actions.split(",") if action in granted}
        token = secrets.token_urlsafe(24)
        registry.tokens[token] = time.monotonic() + registry.token_seconds, frozenset(allowed)
        return _json({"token": token, "expires_in": int(registry.token_seconds)})

    def _ping(self, _body: bytes) -> _Reply:
        return _json({})

    def _tags(self, _body: bytes, name: str) -> _Reply:
        """List in lexical order; `last` is the tag after which the page starts."""
        registry = self.server.registry
        if name not in registry.tags:
            return _error(404, "NAME_UNKNOWN", "no such repository")
        asked = self.query.get("n", [""])[0]
        size = min(int(asked) if asked.isdecimal() else 1 << 30, registry.page_size or 1 << 30)
        last = self.query.get("last", [""])[0]
        names = sorted(tag for tag in registry.tags[name] if tag > last)
        page = names[:size]
        more = f'</v2/{name}/tags/list?last={quote(page[-1])}&n={size}>; rel="next"' if page and names[size:] else ""
        return _json({"name": name, "tags": page}, *([("Link", more)] if more else []))

    def _digest_of(self, name: str, reference: str) -> str | None:
        registry = self.server.registry
        digest = registry.tags.get(name, {}).get(reference, reference)
        return digest if digest in registry.manifests.get(name, {}) else None

    def _manifest(self, _body: bytes, name: str, reference: str) -> _Reply:
        digest = self._digest_of(name, reference)
        if digest is None:
            return _error(404, "MANIFEST_UNKNOWN", "no such manifest")
        media_type = self.server.registry.manifests[name][digest]
        accepted = self.headers.get("Accept", "*/*")
        if media_type not in accepted and "*/*" not in accepted:
            return _error(404, "MANIFEST_UNKNOWN", "no manifest of an accepted type")
        return self._content(digest, media_type)

    def _content(self, digest: str, media_type: str) -> _Reply:
        body = self.server.registry.blobs[digest]
        length = ("Content-Length", str(len(body)))
        return _Reply(200, body, (("Content-Type", media_type), ("Docker-Content-Digest", digest), length))

    def _put_manifest(self, body: bytes, name: str, reference: str) -> _Reply:
        registry = self.server.registry
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if not is_tag(reference) and reference != digest:
            return _error(400, "DIGEST_INVALID", "the digest is not that of the manifest")
        try:
            manifest = json.loads(body)
            parts = [manifest["config"], *manifest["layers"]] if "config" in manifest else manifest["manifests"]
            missing = [part["digest"] for part in parts if part["digest"] not in registry.blobs]
        except (ValueError, LookupError, TypeError):
            return _error(400, "MANIFEST_INVALID", "neither a manifest nor an index")
        if missing:
            return _error(400, "MANIFEST_BLOB_UNKNOWN", f"not there: {missing[0]}")
        media_type = self.headers.get("Content-Type", MANIFEST if "config" in manifest else INDEX)
        registry.keep_manifest(name, media_type, body, reference if is_tag(reference) else None)
        return self._created(f"/v2/{name}/manifests/{digest}", digest)

    def _created(self, location: str, digest: str) -> _Reply:
        return _Reply(201, b"", (("Location", location), ("Docker-Content-Digest", digest)))

    def _delete_manifest(self, _body: bytes, name: str, reference: str) -> _Reply:
        """Delete a tag, or a manifest with every tag of it."""
        registry = self.server.registry
        digest = self._digest_of(name, reference)
        if digest is None:
            return _error(404, "MANIFEST_UNKNOWN", "no such manifest")
        if is_digest(reference):
            del registry.manifests[name][digest]
        gone = [tag for tag, at in registry.tags[name].items() if reference in {tag, at}]
        for tag in gone:
            del registry.tags[name][tag]
        return _Reply(202)

    def _blob(self, _body: bytes, name: str, digest: str) -> _Reply:
        if digest not in self.server.registry.blobs or name not in self.server.registry.manifests:
            return _error(404, "BLOB_UNKNOWN", "no such blob")
        return self._content(digest, "application/octet-stream")

    def _start_upload(self, body: bytes, name: str) -> _Reply:
        if "digest" in self.query:
            return self._finish(body, name)
        upload = secrets.token_hex(8)
        self.server.registry.uploads[upload] = body
        return self._going_on(name, upload)

    def _going_on(self, name: str, upload: str) -> _Reply:
        end = len(self.server.registry.uploads[upload])
        at = ("Location", f"/v2/{name}/blobs/uploads/{upload}")
        return _Reply(202, b"", (at, ("Range", f"0-{max(end - 1, 0)}"), ("Docker-Upload-UUID", upload)))

    def _upload(self, body: bytes, name: str, upload: str) -> _Reply:
        """PATCH adds a piece, PUT ends the upload, with or without a last piece."""
        registry = self.server.registry
        if upload not in registry.uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        registry.uploads[upload] += body
        if self.command == "PATCH":
            return self._going_on(name, upload)
        return self._finish(registry.uploads.pop(upload), name)

    def _finish(self, blob: bytes, name: str) -> _Reply:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        if self.query.get("digest") != [digest]:
            return _error(400, "DIGEST_INVALID", "the digest is not that of the blob")
        self.server.registry.blobs[digest] = blob
        return self._created(f"/v2/{name}/blobs/{digest}", digest)


def _basic(login: tuple[str, str]) -> str:
    return b64encode(":".join(login).encode()).decode()


def _json(value: object, *headers: tuple[str, str]) -> _Reply:
    return _Reply(200, json.dumps(value).encode(), (("Content-Type", "application/json"), *headers))
