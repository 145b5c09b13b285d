"""One cluster: what it serves, its objects, and server-side apply. Objects are plain dicts.

How it is asked stands in asking.py, what its answers mean in answers.py.
"""

from __future__ import annotations

import builtins
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from updater.cluster.answers import Gone, Question, document, failure, words
from updater.cluster.asking import Asker
from updater.cluster.discovery import ACCEPT, Served, ServedKind, discover
from updater.cluster.login import Login
from updater.cluster.sockets import Exchange
from updater.cluster.stream import Change, Watch
from updater.cluster.wire import Answer, Request
from updater.errors import Absent, ClusterError, Refused, UnknownKind, Unreachable
from updater.model.limits import USUAL
from updater.model.resource import Key, Resource
from updater.transport.pace import Breaker

__all__ = ["MANAGER", "Change", "Cluster", "Gone", "Listing", "ServedKind", "Watch"]

MANAGER = "updater"  # who owns the fields that we apply
OBJECT_BYTES = 4 << 20  # etcd takes 1.5 MiB of an object; JSON and managed fields come on top
PAGE_BYTES = 32 << 20
DISCOVERY_BYTES = 16 << 20
PAGE = 500  # objects at once
TRIES = 3  # of a list that expires, and of a PUT that somebody else overtakes
UNKNOWN_SECONDS = 10.0  # an unknown kind makes us look again for what is served, this often at most

_JSON = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_PATCHES = {"json": "application/json-patch+json", "merge": "application/merge-patch+json"}
# What a server writes. In a manifest it comes from an export, and says nothing about what should be.
_SERVERS_OWN = frozenset(
    {"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
     "resourceVersion", "selfLink", "uid"}
)  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # names that are spelled in a path as they are: nearly all
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')

Json = dict[str, Any]
T = TypeVar("T")
U = TypeVar("U")
Warn = Callable[[str], object]
"""Called for every warning of the server, e.g. about fields that a kind does not have."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind at one moment, which `resource_version` names."""

    items: list[Json] = field(repr=False)
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Write:
    """A request that changes something, or would."""

    method: str
    path: str
    question: Question
    body: bytes = field(repr=False)
    content_type: str = _JSON
    parameters: Mapping[str, str] = field(default_factory=dict)


class _Busy:
    """Counts the threads in a block, and says to each whether it is the only one."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0

    def __enter__(self) -> bool:
        with self._lock:
            self._count += 1
            return self._count == 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1


class Cluster:
    """One cluster; shared by threads, at most `concurrency` of which have a request under way. Watches do not count.

    rate, burst       requests a second, and at once; rate None: no limit
    impersonate       the user as whom everything is asked, e.g. system:serviceaccount:NAMESPACE:NAME
    request_seconds   total time for one request, with its tries and the wait for a turn
    stream_grace      seconds that a watch may outlive what the server promised; then its connection is dead
    """

    def __init__(
        self,
        name: str,
        login: Login,
        *,
        concurrency: int = 10,
        rate: float | None = 20.0,
        burst: int = 40,
        impersonate: str | None = None,
        request_seconds: float = USUAL.question,
        stream_grace: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        breaker: Breaker | None = None,
    ) -> None:
        self.name, self.server = name, login.server.url
        self._clock = clock
        self._asker = Asker(
            name,
            login,
            concurrency=concurrency,
            rate=rate,
            burst=burst,
            impersonate=impersonate,
            request_seconds=request_seconds,
            stream_grace=stream_grace,
            sleep=sleep,
            breaker=breaker or Breaker(clock=clock),
        )
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=f"cluster {name}")  # its threads come as needed
        self._busy = _Busy()
        self._discovering = threading.Lock()
        self._served: Served | None = None
        self._served_at = -math.inf
        self._version = ""

    @property
    def trouble(self) -> str:
        """Why it is considered down, empty while it is not."""
        trouble = self._asker.trouble
        return trouble[0] if trouble else ""

    @property
    def since(self) -> datetime | None:
        """When the trouble began, in UTC; None while there is none."""
        trouble = self._asker.trouble
        return trouble[1] if trouble else None

    def close(self) -> None:
        """Close the connections; watches end at once."""
        self._asker.close()

    def each(self, do: Callable[[T], U], those: Sequence[T]) -> builtins.list[U]:
        """Do something with each, several at once where no other thread does so; return what came of it.

        `do` itself does not call this.
        """
        with self._busy as alone:
            if len(those) < 2 or not alone:  # enough is under way, and handing it on costs more than a request
                return builtins.list(map(do, those))
            return builtins.list(self._pool.map(do, those))

    # --- what it serves ---------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Return its version, e.g. `v1.34.0`; asked for once, and again after `refresh`."""
        if not self._version:
            found = self._get("/version", Question(self.name, "version"))
            self._version = str(found.get("gitVersion") or "")
        return self._version

    def api_versions(self) -> frozenset[str]:
        """Return everything that is served, as `apps/v1` and `apps/v1/Deployment`."""
        return self._all_served().api_versions

    def kind_of(self, group: str, kind: str, version: str = "") -> ServedKind:
        """Return how a kind is served, in the cluster's preferred version where none is given.

        What is served is kept; for a kind that is not among it we look again. Raises UnknownKind and Unreachable.
        """
        served = self._all_served()
        try:
            return served.find(group, kind, version)
        except ClusterError as err:
            if self._clock() - self._served_at < UNKNOWN_SECONDS:
                raise self._named(err) from None
        self.refresh()
        try:
            return self._all_served().find(group, kind, version)
        except ClusterError as err:
            raise self._named(err) from None

    def refresh(self) -> None:
        """Look again for what the cluster serves, e.g. after a definition was applied."""
        asked_at, question = self._clock(), Question(self.name, "discovery")
        with self._discovering:
            if self._served is not None and self._served_at > asked_at:
                return  # somebody did so while we waited
            self._served = discover(lambda path: self._get(path, question, DISCOVERY_BYTES, accept=ACCEPT))
            self._served_at = self._clock()
            self._version = ""

    def _all_served(self) -> Served:
        while (served := self._served) is None:
            self.refresh()
        return served

    def _named(self, err: ClusterError) -> ClusterError:
        return type(err)(f"cluster {self.name}: {err}")

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Json | None:
        """Return an object, None where it is not there. Raises UnknownKind, Denied and Unreachable."""
        return self._read(key, _JSON)

    def exists(self, key: Key) -> bool:
        """Say whether an object is there. Only its metadata comes, so a secret's values never do."""
        return self._read(key, _METADATA_ONLY) is not None

    def _read(self, key: Key, accept: str) -> Json | None:
        question = self._question("get of", key)
        path = self._path(self.kind_of(key.group, key.kind), key, question)
        try:
            return self._object(
                self._asker.ask(Request("GET", path, OBJECT_BYTES, {"Accept": accept}), question), question
            )
        except Absent:
            return None

    def list(self, served: ServedKind, *, selector: str = "", namespace: str = "") -> Listing:
        """Return all objects of a kind with these labels, in all namespaces where none is given.

        It comes in pages; a list that expires in between begins again. Raises UnknownKind, Denied and Unreachable.
        """
        for attempt in range(1, TRIES + 1):
            try:
                pages = [*self.pages(served, selector=selector, namespace=namespace)]
            except Gone as err:
                if attempt == TRIES:
                    raise Unreachable(str(err)) from err
            else:
                return Listing([item for page in pages for item in page.items], pages[-1].resource_version)
        raise AssertionError("unreachable")

    def pages(self, served: ServedKind, *, selector: str = "", namespace: str = "") -> Iterator[Listing]:
        """Yield the pages of a list, at least one; that of the last one is the moment from which a watch goes on.

        Raises Gone where the list expires in between, and what `list` raises.
        """
        question = Question(self.name, f"list of {served.kind}", secret=_is_secret(served.group, served.kind))
        path, following = _collection(served, namespace, question), ""
        while True:
            parameters = {"limit": str(PAGE), "labelSelector": selector, "continue": following}
            page = self._get(_with(path, parameters), question, PAGE_BYTES)
            found, metadata = page.get("items"), page.get("metadata")
            if not isinstance(found, builtins.list | None) or not isinstance(metadata, dict):
                raise Unreachable(f"{question}: the answer is not a list")
            items = [_named(item, served) for item in found or () if isinstance(item, dict)]
            yield Listing(items, str(metadata.get("resourceVersion") or ""))
            following = str(metadata.get("continue") or "")
            if not following:
                return

    def watch(
        self,
        served: ServedKind,
        *,
        selector: str,
        resource_version: str,
        seconds: float,
        stop: Callable[[], bool] = lambda: False,
    ) -> Watch:
        """Return the changes of a kind after a moment; the server ends them after so many seconds.

        Nothing is asked before the first one is. Going through them raises Gone where that moment is no longer kept,
        Unreachable where the connection breaks or is silent for too long, UnknownKind and Denied. They end by
        themselves when the server ends them, and at once when the watch is closed, from any thread.
        """
        question = Question(self.name, f"watch of {served.kind}", secret=_is_secret(served.group, served.kind))
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        request = Request("GET", _with(_collection(served, "", question), parameters), OBJECT_BYTES, {"Accept": _JSON})
        exchange = Exchange(math.inf)
        return Watch(
            self._lines(request, exchange, max(1.0, seconds), question),
            exchange,
            question,
            resource_version=resource_version,
            named=lambda item: _named(item, served),
            stop=stop,
        )

    @contextmanager
    def _lines(
        self, request: Request, exchange: Exchange, seconds: float, question: Question
    ) -> Iterator[Iterator[bytes]]:
        with self._asker.stream(request, question, exchange, seconds) as (answer, lines):
            if answer.status != 200:
                raise self._failed(answer, question)
            yield lines

    # --- writing ----------------------------------------------------------------------------------------------------

    def apply(
        self,
        resource: Resource,
        *,
        dry_run: bool = False,
        force: bool = True,
        as_user: str | None = None,
        warn: Warn | None = None,
    ) -> Json:
        """Apply a manifest on the server's side and return the object that it makes.

        dry_run   nothing is stored
        force     take fields that others own; else Conflict names them
        Raises Conflict, Refused, Absent, Denied, UnknownKind and Unreachable.
        """
        write = self._apply(resource, dry_run=dry_run, force=force)
        return self._object(self._write(write, as_user, warn), write.question)

    def would_create(self, resource: Resource, *, as_user: str | None = None) -> bool:
        """Apply dry, and say whether that would make the object: it is not there. Raises what `apply` raises."""
        write = self._apply(resource, dry_run=True, force=False)
        answer = self._write(write, as_user)
        self._object(answer, write.question)
        return answer.status == 201

    def _apply(self, resource: Resource, *, dry_run: bool, force: bool) -> _Write:
        question = self._question("dry run of" if dry_run else "apply of", resource.key)
        path = self._path(self._kind(resource), resource.key, question)
        parameters = {"fieldManager": MANAGER, "force": "true" if force else "false", "fieldValidation": "Warn"}
        if dry_run:
            parameters["dryRun"] = "All"
        return _Write("PATCH", path, question, _body(resource, question), _APPLY, parameters)

    def create(self, resource: Resource, *, as_user: str | None = None, warn: Warn | None = None) -> Json:
        """Make an object that is not there yet. Raises Refused where it is, and what `apply` raises."""
        question = self._question("creation of", resource.key)
        path = _collection(self._kind(resource), resource.key.namespace, question)
        write = _Write("POST", path, question, _body(resource, question), parameters=_OURS)
        return self._object(self._write(write, as_user, warn), question)

    def replace(self, resource: Resource, *, as_user: str | None = None, warn: Warn | None = None) -> Json:
        """Put an object in place of the one that is there, whoever owns its fields; make it where there is none.

        Raises what `apply` raises, but Conflict.
        """
        question = self._question("replacement of", resource.key)
        path = self._path(self._kind(resource), resource.key, question)
        for attempt in range(1, TRIES + 1):
            live = self.get(resource.key)
            if live is None:
                return self.create(resource, as_user=as_user, warn=warn)
            body = _body(resource, question, resource_version=str(live["metadata"].get("resourceVersion") or ""))
            answer = self._write(_Write("PUT", path, question, body, parameters=_OURS), as_user, warn)
            if answer.status != 409 or attempt == TRIES:  # else somebody changed it in between
                return self._object(answer, question)
        raise AssertionError("unreachable")

    def patch(self, key: Key, patch: builtins.list[Any] | Json, *, kind: str, as_user: str | None = None) -> Json:
        """Change an object by a patch, `json` (RFC 6902) or `merge` (RFC 7386). Raises what `apply` raises."""
        question = self._question("patch of", key)
        path = self._path(self.kind_of(key.group, key.kind), key, question)
        write = _Write("PATCH", path, question, json.dumps(patch).encode(), _PATCHES[kind], {"fieldManager": MANAGER})
        return self._object(self._write(write, as_user), question)

    def delete(
        self, key: Key, *, propagation: str = "Foreground", uid: str | None = None, as_user: str | None = None
    ) -> bool:
        """Delete an object, only the one with this uid where it is given; False where it was gone.

        Raises Refused where another one has its name by now, Denied, UnknownKind and Unreachable.
        """
        question = self._question("deletion of", key)
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        path = self._path(self.kind_of(key.group, key.kind), key, question)
        try:
            write = _Write("DELETE", path, question, json.dumps(options).encode())
            self._document(self._write(write, as_user), question)
        except Absent:
            return False
        return True

    # --- asking -----------------------------------------------------------------------------------------------------

    def _question(self, what: str, key: Key) -> Question:
        return Question(self.name, f"{what} {key}", secret=_is_secret(key.group, key.kind))

    def _kind(self, resource: Resource) -> ServedKind:
        return self.kind_of(resource.key.group, resource.key.kind, resource.version)

    def _path(self, served: ServedKind, key: Key, question: Question) -> str:
        """Return the path of an object. Raises Refused for a name that would lead elsewhere."""
        if served.namespaced and not key.namespace:
            raise Refused(f"{question}: a {served.kind} needs a namespace", reason="Invalid")
        return f"{_collection(served, key.namespace, question)}/{_segment(key.name, question)}"

    def _get(self, path: str, question: Question, max_bytes: int = OBJECT_BYTES, *, accept: str = _JSON) -> Json:
        answer = self._asker.ask(Request("GET", path, max_bytes, {"Accept": accept}), question)
        return self._document(answer, question)

    def _write(self, write: _Write, as_user: str | None, warn: Warn | None = None) -> Answer:
        headers = {"Accept": _JSON, "Content-Type": write.content_type}
        path = _with(write.path, write.parameters)
        answer = self._asker.ask(
            Request(write.method, path, OBJECT_BYTES, headers, write.body), write.question, as_user
        )
        if warn is not None:
            for text in _warnings(answer.headers):
                warn(text)
        return answer

    def _object(self, answer: Answer, question: Question) -> Json:
        found = self._document(answer, question)
        if not isinstance(found.get("metadata"), dict):
            raise Unreachable(f"{question}: the answer is not an object")
        return found

    def _document(self, answer: Answer, question: Question) -> Json:
        if 200 <= answer.status < 300:
            return document(answer, question)
        raise self._failed(answer, question)

    def _failed(self, answer: Answer, question: Question) -> ClusterError:
        err = failure(answer, question)
        if isinstance(err, UnknownKind) and self._clock() - self._served_at >= UNKNOWN_SECONDS:
            self._served = None  # a kind is gone since we looked
        return err


_OURS = {"fieldManager": MANAGER, "fieldValidation": "Warn"}


def _is_secret(group: str, kind: str) -> bool:
    return (group, kind) == ("", "Secret")


def _with(path: str, parameters: Mapping[str, str]) -> str:
    query = _query(*parameters.items())
    return f"{path}?{query}" if query else path


@lru_cache(maxsize=64)  # most requests are writes, which have the same few
def _query(*parameters: tuple[str, str]) -> str:
    return urlencode([(name, value) for name, value in parameters if value])


def _segment(text: str, question: Question) -> str:
    """Return a name as a part of a path. Raises Refused for one that would lead elsewhere."""
    if _PLAIN.fullmatch(text):
        return text
    if not text or text in {".", ".."} or "/" in text or "%" in text:
        raise Refused(f"{question}: {text[:80]!r} is no name of an object or namespace", reason="Invalid")
    return quote(text, safe="")


def _collection(served: ServedKind, namespace: str, question: Question) -> str:
    within = f"/namespaces/{_segment(namespace, question)}" if served.namespaced and namespace else ""
    return f"{served.path}{within}/{served.plural}"


def _named(item: Json, served: ServedKind) -> Json:
    """Return an item of a list with its apiVersion and kind, which lists leave out."""
    item.setdefault("apiVersion", served.api_version)
    item.setdefault("kind", served.kind)
    return item


def _body(resource: Resource, question: Question, *, resource_version: str = "") -> bytes:
    """Return a manifest as JSON, without what only a server writes."""
    metadata = {name: value for name, value in resource.manifest["metadata"].items() if name not in _SERVERS_OWN}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    manifest = {name: value for name, value in resource.manifest.items() if name != "status"} | {"metadata": metadata}
    try:
        return json.dumps(manifest, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise Refused(f"{question}: it holds a value that JSON does not know", reason="Invalid") from None


def _warnings(headers: Mapping[str, str]) -> Iterator[str]:
    for found in _WARNING.finditer(headers.get("Warning", "")):
        yield words(re.sub(r"\\(.)", r"\1", found[1]), 300)
