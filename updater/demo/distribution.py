"""What an OCI registry holds, and how it answers: the distribution API without a socket.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from updater.demo.image import INDEX, MANIFEST, digest_of, small_image
from updater.model.image import is_digest, is_tag


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; the length of the body is sent along unless the headers say it."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, its parameters in the path included under the names of the route."""

    method: str
    target: str
    headers: Message
    body: bytes = b""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    name: str = ""
    at: str = ""  # reference of a manifest, digest of a blob, or upload

    @property
    def authorization(self) -> tuple[str, str]:
        """Scheme in lower case, and credentials."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return scheme.lower(), value


def error(status: int, code: str, message: str, *headers: tuple[str, str]) -> Reply:
    """Return an error in the words of the specification."""
    return _json({"errors": [{"code": code, "message": message}]}, *headers, status=status)


def _json(value: object, *headers: tuple[str, str], status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *headers))


class Content:
    """Blobs, manifests and tags; kept in `folder`, where there is one. Threads share it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.blobs: dict[str, bytes] = {}  # manifests are among them
        self.manifests: dict[str, dict[str, str]] = {}  # repository -> digest -> media type
        self.tags: dict[str, dict[str, str]] = {}  # repository -> tag -> digest
        self.uploads: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self._folder = folder
        if folder and (index := folder / "index.json").exists():
            kept = json.loads(index.read_text())
            self.manifests, self.tags = kept["manifests"], kept["tags"]
            self.blobs = {f"sha256:{path.name}": path.read_bytes() for path in (folder / "blobs").iterdir()}

    def keep(self, repository: str, media_type: str, manifest: bytes, tags: Sequence[str] = ()) -> str:
        """Keep a manifest under the tags; return its digest."""
        digest = digest_of(manifest)
        with self.lock:
            self.blobs[digest] = manifest
            self.manifests.setdefault(repository, {})[digest] = media_type
            self.tags.setdefault(repository, {}).update(dict.fromkeys(tags, digest))
            self._save()
        return digest

    def seed(self, repository: str, tags: Sequence[str], digest: str | None) -> str:
        """Add tags of one manifest: that of `digest`, else that of a new small image. Return the digest."""
        with self.lock:
            if digest is not None:
                return self.keep(repository, self.manifests[repository][digest], self.blobs[digest], tags)
            image = small_image(f"{repository}\n".encode())
            self.blobs.update(image.blobs)
            return self.keep(repository, MANIFEST, image.manifest, tags)

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest that a tag or digest names, None where there is no such manifest."""
        digest = self.tags.get(repository, {}).get(reference, reference)
        return digest if digest in self.manifests.get(repository, {}) else None

    def delete(self, repository: str, reference: str, digest: str) -> None:
        """Delete a tag, or a manifest with every tag of it."""
        if is_digest(reference):
            del self.manifests[repository][digest]
        tags = self.tags.get(repository, {})
        for tag in [tag for tag, at in tags.items() if reference in {tag, at}]:
            del tags[tag]
        self._save()

    def _save(self) -> None:
        if self._folder is None:
            return
        blobs = self._folder / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        for digest, body in self.blobs.items():
            if not (path := blobs / digest.removeprefix("sha256:")).exists():
                path.write_bytes(body)
        (self._folder / "index.json").write_text(json.dumps({"manifests": self.manifests, "tags": self.tags}))


@dataclass(slots=True)
class Door:
    """Who may pass. `login` is a user name and password, None for everybody; `realm` is the token service."""

    login: tuple[str, str] | None = None
    auth: Literal["basic", "token"] = "basic"
    anonymous_pull: bool = False
    token_seconds: float = 300
    realm: str = ""
    tokens: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)  # its end, what it lets do

    def refusal(self, ask: Ask) -> Reply | None:
        """Return the challenge that the request must answer first, None when it may pass."""
        if self.login is None or (self.auth == "basic" and ask.authorization == ("basic", self._basic)):
            return None
        challenge = 'Basic realm="embedded"'
        if self.auth == "token":
            actions = ("pull",) if ask.method in {"GET", "HEAD"} else ("pull", "push")
            until, allowed = self.tokens.get(ask.authorization[1], (0.0, frozenset()))
            if time.monotonic() < until and (not ask.name or allowed.issuperset(f"{ask.name}:{a}" for a in actions)):
                return None
            challenge = f'Bearer realm="{self.realm}",service="embedded"'
            challenge += f',scope="repository:{ask.name}:{",".join(actions)}"' if ask.name else ""
        return error(401, "UNAUTHORIZED", "a login is needed", ("WWW-Authenticate", challenge))

    def token(self, ask: Ask) -> Reply:
        """Hand out a token for what the asker may do; a wrong login gets none."""
        known = self.login is not None and ask.authorization == ("basic", self._basic)
        if ask.authorization[0] and not known:
            return error(401, "UNAUTHORIZED", "wrong user name or password")
        granted = {"pull", "push"} if known else {"pull"} if self.anonymous_pull else set()
        allowed = set()
        for scope in " ".join(ask.query.get("scope", ())).split():
            _, name, actions = (*scope.split(":"), "", "")[:3]
            allowed |= {f"{name}:{action}" for action in actions.split(",") if action in granted}
        token = secrets.token_urlsafe(24)
        self.tokens[token] = time.monotonic() + self.token_seconds, frozenset(allowed)
        return _json({"token": token, "expires_in": int(self.token_seconds)})

    @property
    def _basic(self) -> str:
        return b64encode(":".join(self.login or ()).encode()).decode()


class Api:
    """Answers requests about the content, once they are through the door."""

    def __init__(self, content: Content, door: Door, page_size: int | None) -> None:
        self.content, self.door, self.page_size = content, door, page_size

    def answer(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        """Answer one request."""
        parts = urlsplit(target)
        for methods, pattern, route in _ROUTES:
            if method in methods and (found := pattern.fullmatch(parts.path)):
                names = {"name": "", "at": ""} | found.groupdict()
                ask = Ask(method, target, headers, body, parse_qs(parts.query), **names)
                if route is Api.token:
                    return self.door.token(ask)
                with self.content.lock:
                    return self.door.refusal(ask) or route(self, ask)
        return error(404, "UNSUPPORTED", "no such address")

    def token(self, ask: Ask) -> Reply:
        """Hand out a token."""
        return self.door.token(ask)

    def ping(self, _ask: Ask) -> Reply:
        """Say that this is a registry."""
        return _json({})

    def tags(self, ask: Ask) -> Reply:
        """List in lexical order; `last` is the tag after which the page starts."""
        known = self.content.tags.get(ask.name)
        if known is None:
            return error(404, "NAME_UNKNOWN", "no such repository")
        asked, last = ask.query.get("n", ("",))[0], ask.query.get("last", ("",))[0]
        size = min(int(asked) if asked.isdecimal() else 1 << 30, self.page_size or 1 << 30)
        names = sorted(tag for tag in known if tag > last)
        page = names[:size]
        more = (
            f'</v2/{ask.name}/tags/list?last={quote(page[-1])}&n={size}>; rel="next"' if page and names[size:] else ""
        )
        return _json({"name": ask.name, "tags": page}, *([("Link", more)] if more else []))

    def manifest(self, ask: Ask) -> Reply:
        """Return the manifest or index that a tag or digest names."""
        digest = self.content.digest(ask.name, ask.at)
        if digest is None:
            return error(404, "MANIFEST_UNKNOWN", "no such manifest")
        media_type = self.content.manifests[ask.name][digest]
        accepted = ask.headers.get("Accept", "*/*")
        if media_type not in accepted and "*/*" not in accepted:
            return error(404, "MANIFEST_UNKNOWN", "no manifest of an accepted type")
        return self._found(digest, media_type)

    def put_manifest(self, ask: Ask) -> Reply:
        """Take a manifest whose parts are all there."""
        if not is_tag(ask.at) and ask.at != digest_of(ask.body):
            return error(400, "DIGEST_INVALID", "the digest is not that of the manifest")
        try:
            manifest = json.loads(ask.body)
            parts = [manifest["config"], *manifest["layers"]] if "config" in manifest else manifest["manifests"]
            missing = [part["digest"] for part in parts if part["digest"] not in self.content.blobs]
        except (ValueError, LookupError, TypeError):
            return error(400, "MANIFEST_INVALID", "neither a manifest nor an index")
        if missing:
            return error(400, "MANIFEST_BLOB_UNKNOWN", f"not there: {missing[0]}")
        media_type = ask.headers.get("Content-Type") or (MANIFEST if "config" in manifest else INDEX)
        digest = self.content.keep(ask.name, media_type, ask.body, [ask.at] if is_tag(ask.at) else [])
        return _created(f"/v2/{ask.name}/manifests/{digest}", digest)

    def delete_manifest(self, ask: Ask) -> Reply:
        """Delete a tag or a manifest."""
        digest = self.content.digest(ask.name, ask.at)
        if digest is None:
            return error(404, "MANIFEST_UNKNOWN", "no such manifest")
        self.content.delete(ask.name, ask.at, digest)
        return Reply(202)

    def referrers(self, ask: Ask) -> Reply:
        """List the manifests that say they are about this digest."""
        found = [
            _descriptor(digest, media_type, self.content.blobs[digest], manifest)
            for digest, media_type in self.content.manifests.get(ask.name, {}).items()
            if (manifest := json.loads(self.content.blobs[digest])).get("subject", {}).get("digest") == ask.at
        ]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        return Reply(200, json.dumps(index).encode(), (("Content-Type", INDEX),))

    def blob(self, ask: Ask) -> Reply:
        """Return a blob."""
        if ask.at not in self.content.blobs:
            return error(404, "BLOB_UNKNOWN", "no such blob")
        return self._found(ask.at, "application/octet-stream")

    def _found(self, digest: str, media_type: str) -> Reply:
        body = self.content.blobs[digest]
        return Reply(200, body, (("Content-Type", media_type), ("Docker-Content-Digest", digest)))

    def start_upload(self, ask: Ask) -> Reply:
        """Begin an upload; with a digest it is the whole blob at once."""
        if "digest" in ask.query:
            return self._finish(ask, ask.body)
        upload = secrets.token_hex(8)
        self.content.uploads[upload] = ask.body
        return self._going_on(ask.name, upload)

    def upload(self, ask: Ask) -> Reply:
        """PATCH adds a piece, PUT ends the upload, with or without a last piece."""
        uploads = self.content.uploads
        if ask.at not in uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        uploads[ask.at] += ask.body
        return self._going_on(ask.name, ask.at) if ask.method == "PATCH" else self._finish(ask, uploads.pop(ask.at))

    def _going_on(self, name: str, upload: str) -> Reply:
        end = max(len(self.content.uploads[upload]) - 1, 0)
        return Reply(202, b"", (("Location", f"/v2/{name}/blobs/uploads/{upload}"), ("Range", f"0-{end}")))

    def _finish(self, ask: Ask, blob: bytes) -> Reply:
        digest = digest_of(blob)
        if ask.query.get("digest") != [digest]:
            return error(400, "DIGEST_INVALID", "the digest is not that of the blob")
        self.content.blobs[digest] = blob
        return _created(f"/v2/{ask.name}/blobs/{digest}", digest)


def _descriptor(digest: str, media_type: str, content: bytes, manifest: Mapping[str, Any]) -> dict[str, Any]:
    kind = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")
    found = {"mediaType": media_type, "digest": digest, "size": len(content), "artifactType": kind}
    return found | ({"annotations": manifest["annotations"]} if "annotations" in manifest else {})


def _created(location: str, digest: str) -> Reply:
    return Reply(201, b"", (("Location", location), ("Docker-Content-Digest", digest)))


_NAME = r"/v2/(?P<name>[a-z0-9._/-]+)"
_ROUTES: tuple[tuple[frozenset[str], re.Pattern[str], Callable[[Api, Ask], Reply]], ...] = tuple(
    (frozenset(methods.split()), re.compile(pattern), route)
    for methods, pattern, route in (
        ("GET HEAD", r"/v2/", Api.ping),
        ("GET", r"/token", Api.token),
        ("GET", rf"{_NAME}/tags/list", Api.tags),
        ("GET HEAD", rf"{_NAME}/manifests/(?P<at>[^/]+)", Api.manifest),
        ("PUT", rf"{_NAME}/manifests/(?P<at>[^/]+)", Api.put_manifest),
        ("DELETE", rf"{_NAME}/manifests/(?P<at>[^/]+)", Api.delete_manifest),
        ("GET", rf"{_NAME}/referrers/(?P<at>[a-z0-9]+:[a-f0-9]+)", Api.referrers),
        ("GET HEAD", rf"{_NAME}/blobs/(?P<at>[a-z0-9]+:[a-f0-9]+)", Api.blob),
        ("POST", rf"{_NAME}/blobs/uploads/", Api.start_upload),
        ("PATCH PUT", rf"{_NAME}/blobs/uploads/(?P<at>[0-9a-f]+)", Api.upload),
    )
)
