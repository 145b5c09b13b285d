"""The server as tests and the demonstration use it: started, asked what it was asked, told how to fail."""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from updater.demo.cluster import certificates
from updater.demo.cluster.api import Api, Deny
from updater.demo.cluster.asked import Answer, Asked, Fault, Stream, say
from updater.demo.cluster.controller import Controller
from updater.demo.cluster.discovery import Discovery
from updater.demo.cluster.failures import ApiError, qualified
from updater.demo.cluster.objects import Store
from updater.demo.cluster.registry import Registry
from updater.demo.cluster.schemas import Json
from updater.demo.cluster.wire import Wire

ADMIN = "admin"
COUNTS = "/demo/counts"  # answers `counts` without a login, for a benchmark in another process
Script = Callable[[Asked], Fault | None]


class ClusterServer:
    """Serves on loopback until `close`; a context manager.

    folder      where its kubeconfig files, certificates and keys go
    version     the Kubernetes version that it says it has
    token       bearer token of the user `admin`; None: a new one
    tokens      other bearer tokens -> users
    deny        called for every request with (user, verb, group, resource, namespace, name); a text refuses it with 403
    history     how many events of each resource a watch may look back on
    bookmark    seconds between two bookmarks of a watch
    controller  whether workloads get ready, volumes get bound, services an address, namespaces are emptied
    rollout     seconds that such a thing takes; None: it happens only at `settle`
    script      called for every request in the thread of its connection; None: behave, else what to do instead
    remember    whether it keeps the requests; it counts them in any case
    requests    what it was asked, in the order of arrival
    counts      how often it was asked what: `patch deployments.apps`, with ` (dry run)` behind it where it was one
    """

    def __init__(
        self,
        folder: Path,
        *,
        version: str = "v1.34.0",
        token: str | None = None,
        tokens: Mapping[str, str] | None = None,
        deny: Deny | None = None,
        history: int = 10_000,
        bookmark: float = 60.0,
        controller: bool = True,
        rollout: float | None = 0.05,
        script: Script | None = None,
        remember: bool = True,
        port: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.script = folder, script
        self.token = token or secrets.token_urlsafe(18)
        self.requests: list[Asked] = []
        self.counts: Counter[str] = Counter()
        self._remember = remember
        self._lock = threading.Lock()
        self.store, self.registry = Store(history), Registry()
        self._files()
        discovery = Discovery(self.registry, version, "127.0.0.1")
        known = {**(tokens or {}), self.token: ADMIN}
        self.api = Api(self.store, self.registry, discovery, tokens=known, deny=deny, bookmark=bookmark)
        self.controller = Controller(self.store, self.registry, self.api.writes, rollout=rollout, active=controller)
        self._wire = Wire(self._handle, (folder / "server.crt", folder / "server.key"), self.ca, port)
        self.port = self._wire.port
        self.url = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = self._kubeconfig("kubeconfig", {"token": self.token})

    # ---------------------------------------------------------------- logins

    @property
    def ca(self) -> Path:
        """The file of the authority that signed the server's certificate."""
        return self.folder / "ca.crt"

    def _files(self) -> None:
        every = {
            "ca.crt": certificates.AUTHORITY, "ca.key": certificates.AUTHORITY_KEY,
            "server.crt": certificates.SERVER, "server.key": certificates.SERVER_KEY,
            "client.crt": certificates.CLIENT, "client.key": certificates.CLIENT_KEY,
        }  # fmt: skip
        for name, text in every.items():
            path = self.folder / name
            path.write_text(text, encoding="ascii")
            path.chmod(0o600)

    def kubeconfig_for(self, user: str, login: Json | None = None) -> Path:
        """Return a new kubeconfig of a user.

        Without a `login` the user gets a token of its own; else it is the `user` entry as it stands in the file:
        {"client-certificate": ..., "client-key": ...}, {"exec": ...}, {"token": ..., "as": ...}. A client certificate
        signed by `ca.key` makes the user of its common name; `client.crt` and `client.key` are those of `demo-client`.
        """
        if login is None:
            login = {"token": self.token_for(user)}
        return self._kubeconfig(f"{user.replace('/', '_').replace(':', '_')}.kubeconfig", login)

    def token_for(self, user: str) -> str:
        """Return a new bearer token of a user."""
        token = secrets.token_urlsafe(18)
        self.api.tokens = {**self.api.tokens, token: user}
        return token

    def revoke(self, token: str) -> None:
        """Have a token no longer known: 401 from now on."""
        self.api.tokens = {key: user for key, user in self.api.tokens.items() if key != token}

    def _kubeconfig(self, name: str, login: Json) -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self.ca.resolve())}
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "demo",
            "clusters": [{"name": "demo", "cluster": cluster}],
            "users": [{"name": "demo", "user": login}],
            "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo", "namespace": "default"}}],
        }  # fmt: skip
        path = self.folder / name
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")  # JSON is YAML
        path.chmod(0o600)
        return path

    # --------------------------------------------------------------- requests

    def _handle(self, request: Asked, common_name: str) -> Fault | Stream:
        if request.path == COUNTS:
            return say(self.counts)
        with self._lock:
            self.counts[_named(request)] += 1
            if self._remember:
                self.requests.append(request)
        refused = self._refused(request, common_name)
        fault = self.script(request) if self.script else None
        answer: Answer | Stream | None = None
        if fault is None or fault.done:
            answer = refused or self.api.answer(request)
        given = fault or answer
        assert given is not None
        request.status = given.code if isinstance(given, Answer) else 200 if isinstance(given, Stream) else 0
        return given

    def _refused(self, request: Asked, common_name: str) -> Answer | None:
        try:
            self.api.identify(request, common_name)
        except ApiError as err:
            return say(err.status, err.code, err.headers)
        return None

    def asked(self, *, writes: bool = False) -> list[Asked]:
        """Return the requests until now for objects, not those about the server; of `writes` only, where it is said."""
        with self._lock:
            found = list(self.requests)
        return [request for request in found if request.resource and (request.writes or not writes)]

    def forget(self) -> None:
        """Forget the requests and counts until now."""
        with self._lock:
            self.requests.clear()
            self.counts.clear()

    @property
    def connections(self) -> int:
        """How many connections it has accepted."""
        return self._wire.connections

    # ---------------------------------------------------------------- content

    def get(self, kind: str, name: str, namespace: str = "", group: str = "") -> Json | None:
        """Return an object as it is stored, or None. Not to be changed. Raises KeyError for an unknown kind."""
        resource = self.registry.by_kind(group, kind)
        if resource is None:
            raise KeyError(kind)
        stored = self.store.get(resource, (namespace if resource.namespaced else "", name))
        return stored.obj if stored else None

    def objects(self, kind: str, namespace: str = "", group: str = "") -> list[Json]:
        """Return the objects of a kind by namespace and name. Raises KeyError for an unknown kind."""
        resource = self.registry.by_kind(group, kind)
        if resource is None:
            raise KeyError(kind)
        with self.store.lock:
            return [item.obj for item in self.store.table(resource).sorted(namespace)]

    def settle(self) -> None:
        """Have the controller do everything that is waiting, now; return when it is done."""
        self.controller.settle()

    def compact(self) -> None:
        """Forget the past: watches from an older resource version and continued lists get 410."""
        self.store.compact()
        self.api.wake()

    def cut(self) -> None:
        """Cut every open connection, watches too; new ones are welcome."""
        self._wire.cut()

    def down(self) -> None:
        """Refuse every connection until `up`; what is stored stays."""
        self._wire.down()

    def up(self) -> None:
        """Be there again, at the same address."""
        self._wire.up()

    def expire_watches(self) -> None:
        """End every open watch with an error 410 in its stream."""
        self.api.expiries += 1
        self.api.wake()

    def mute_watches(self, *, mute: bool = True) -> None:
        """Have open watches say nothing, not even their end, as behind a connection that is gone unnoticed."""
        self.api.muted = mute
        self.api.wake()

    def close(self) -> None:
        """Stop, and cut every connection."""
        self.api.stopping = True
        self.controller.close()
        self.api.wake()
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _named(request: Asked) -> str:
    if not request.resource:
        return request.path
    below = f"/{request.subresource}" if request.subresource else ""
    name = f"{request.verb} {qualified(request.group, request.resource)}{below}"
    return f"{name} (dry run)" if request.dry_run else name
