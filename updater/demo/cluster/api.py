"""From a request to its answer: who may, which resource, which verb."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from updater.demo.cluster import failures, selectors, tables
from updater.demo.cluster.asked import Answer, Asked, Stream, say
from updater.demo.cluster.discovery import AGGREGATED, Discovery
from updater.demo.cluster.failures import ApiError
from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.objects import Happened, Store, Stored, Table, dumped
from updater.demo.cluster.registry import Registry
from updater.demo.cluster.schemas import Json
from updater.demo.cluster.writes import Outcome, Writes

# (user, verb, group, resource, namespace, name) -> why not, or None
Deny = Callable[[str, str, str, str, str, str], str | None]

MAX_BODY = 3 << 20  # bytes of a request, as a genuine server takes them
_HEALTH = ("healthz", "livez", "readyz")
_OPEN = (*_HEALTH, "version")  # answered without a login


class Place(NamedTuple):
    """What somebody wants to touch."""

    group: str
    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Form:
    """How objects are wanted: as they are, as a table, or their metadata alone."""

    kind: str = ""
    include: str = "Metadata"


class Api:
    """Answers requests on a store.

    tokens    bearer token -> user
    deny      whom to refuse what
    bookmark  seconds between two bookmarks of a watch
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        discovery: Discovery,
        *,
        tokens: Mapping[str, str],
        deny: Deny | None,
        bookmark: float,
    ) -> None:
        self.store, self.registry, self.discovery = store, registry, discovery
        self.writes = Writes(store, registry.one("namespaces"))
        self.tokens, self.deny, self.bookmark = tokens, deny, bookmark
        self.stopping = self.muted = False
        self.expiries = 0
        self._acts: dict[tuple[str, bool], Callable[[Asked, Resource], Answer | Stream]] = {
            ("get", True): self._get,
            ("list", False): self._list,
            ("watch", False): self._watch,
            ("watch", True): self._watch,
            ("create", False): self._create,
            ("update", True): self._replace,
            ("patch", True): self._patch,
            ("delete", True): self._delete,
            ("deletecollection", False): self._delete_all,
        }

    # ------------------------------------------------------------------ doors

    def identify(self, asked: Asked, common_name: str) -> None:
        """Note who asks: by bearer token, else by the client certificate. Raises ApiError 401, 403 and 413."""
        if len(asked.body) > MAX_BODY:
            raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}")
        word, _, token = asked.headers.get("authorization", "").partition(" ")
        asked.user = self.tokens.get(token.strip(), "") if word.lower() == "bearer" else common_name
        if not asked.user and asked.path.strip("/") in _OPEN:
            return
        if not asked.user:
            raise failures.unauthorized()
        if other := asked.headers.get("impersonate-user"):
            self._check(asked.user, "impersonate", Place("", "users", "", other))
            asked.impersonated_by, asked.user = asked.user, other

    def _check(self, user: str, verb: str, place: Place) -> None:
        group, resource, namespace, name = place
        why = self.deny(user, verb, group, resource, namespace, name) if self.deny else None
        if why is None:
            return
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        text = f'User "{user}" cannot {verb} resource "{resource}" in API group "{group}" {where}'
        raise failures.forbidden(group, resource, name, f"{text}: {why}" if why else text)

    def answer(self, asked: Asked) -> Answer | Stream:
        """Return the answer to a request whose user is known."""
        try:
            return self._answer(asked)
        except ApiError as err:
            return say(err.status, err.code, err.headers)

    def _answer(self, asked: Asked) -> Answer | Stream:
        if not asked.resource:
            return self._about(asked)
        if asked.group == "authorization.k8s.io" and asked.resource == "selfsubjectaccessreviews":
            return self._review(asked)
        resource = self.registry.find(asked.group, asked.version, asked.resource)
        is_inside = asked.namespace and asked.resource != "namespaces"
        if resource is None or (is_inside and not resource.namespaced):
            return _nothing()
        below = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        self._check(asked.user, asked.verb, Place(asked.group, below, asked.namespace, asked.name))
        if asked.subresource:
            return self._below(asked, resource)
        act = self._acts.get((asked.verb, bool(asked.name)))
        if act is None:
            raise failures.not_allowed(asked.verb, asked.resource)
        return act(asked, resource)

    def _about(self, asked: Asked) -> Answer:
        first = asked.path.strip("/").partition("/")[0]
        if first in _HEALTH:
            return Answer(200, b"ok", media="text/plain")
        accept = asked.headers.get("accept", "")
        aggregated = AGGREGATED in accept and "v=v2" in accept.replace("v2beta1", "")
        found = self.discovery.document(asked.path, aggregated=aggregated) if asked.method == "GET" else None
        if found is None:
            return _nothing()
        if aggregated and asked.path.strip("/") in ("api", "apis"):
            return Answer(200, found, media=f"application/json;g={AGGREGATED};v=v2;as=APIGroupDiscoveryList")
        return Answer(200, found)

    def _review(self, asked: Asked) -> Answer:
        """Answer `kubectl auth can-i`."""
        if not asked.body.startswith(b"{"):
            raise failures.unsupported_media(asked.headers.get("content-type", ""), ("application/json",))
        body = json.loads(asked.body)
        wish = body.get("spec", {}).get("resourceAttributes", {})
        verb, *place = (wish.get(key, "") for key in ("verb", "group", "resource", "namespace", "name"))
        why = self.deny(asked.user, verb, *place) if self.deny else None
        return say(body | {"status": {"allowed": why is None} | ({"reason": why} if why else {})}, 201)

    # ----------------------------------------------------------------- reading

    def _get(self, asked: Asked, resource: Resource) -> Answer:
        found = self.store.get(resource, (asked.namespace if resource.namespaced else "", asked.name))
        if found is None:
            raise failures.not_found(resource.group, resource.plural, asked.name)
        return Answer(200, _formed(found, resource, form_of(asked)))

    def _tests(self, asked: Asked, resource: Resource) -> Callable[[Json], bool]:
        found = [
            test for test in (
                selectors.labels(asked.query.get("labelSelector", "")),
                selectors.fields(asked.query.get("fieldSelector", ""), resource),
            ) if test
        ]  # fmt: skip
        if asked.name and not asked.subresource:
            found.append(lambda obj: obj["metadata"]["name"] == asked.name)
        namespace = asked.namespace if resource.namespaced else ""
        if namespace:
            found.append(lambda obj: obj["metadata"].get("namespace") == namespace)
        return lambda obj: all(test(obj) for test in found)

    def _list(self, asked: Asked, resource: Resource) -> Answer:
        with self.store.lock:
            namespace = asked.namespace if resource.namespaced else ""
            version, items = self.store.version, self.store.table(resource).sorted(namespace)
        limit = int(asked.query.get("limit") or 0)
        start = 0
        if token := asked.query.get("continue"):
            version, items, start, name = self._continued(token)
        else:
            if asked.query.get("labelSelector") or asked.query.get("fieldSelector"):
                test = self._tests(asked, resource)
                items = [item for item in items if test(item.obj)]
            name = self.store.keep(items) if 0 < limit < len(items) else ""
        meta: Json = {"resourceVersion": str(version)}
        if limit and start + limit < len(items):
            meta["continue"] = base64.urlsafe_b64encode(f"{name}:{start + limit}".encode()).decode()
            meta["remainingItemCount"] = len(items) - start - limit
        page = items[start : start + limit] if limit else items[start:]
        return Answer(200, _listed(page, resource, form_of(asked), meta))

    def _continued(self, token: str) -> tuple[int, list[Stored], int, str]:
        try:
            name, _, start = base64.urlsafe_b64decode(token).decode().partition(":")
            place = int(start)
        except ValueError:
            raise failures.bad_request("continue key is not valid") from None
        kept = self.store.kept(name)
        if kept is None:
            raise failures.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter, or use the continue token in this response to retrieve the "
                "remainder of the results."
            )
        return (*kept, place, name)

    # ---------------------------------------------------------------- watching

    def _watch(self, asked: Asked, resource: Resource) -> Stream:
        test, form = self._tests(asked, resource), form_of(asked)
        version = asked.query.get("resourceVersion", "")
        if version and not version.isdecimal():
            raise failures.bad_request(f"invalid resource version {version!r}")
        seconds = float(asked.query.get("timeoutSeconds") or 3600)
        marks = asked.query.get("allowWatchBookmarks", "").lower() in ("true", "1")
        initial = asked.query.get("sendInitialEvents", "").lower() in ("true", "1")
        since = None if initial or version in ("", "0") else int(version)
        watch = _Watch(self, self.store.table(resource), test, form, marks=marks, initial=initial)
        return Stream(watch.parts(since, time.monotonic() + seconds))

    def wake(self) -> None:
        """Have every watch look whether the server is stopping."""
        with self.store.lock:
            for table in self.store.tables():
                table.changed.notify_all()

    # ----------------------------------------------------------------- writing

    def _written(self, asked: Asked, resource: Resource, outcome: Outcome) -> Answer:
        headers = tuple(("Warning", f'299 - "{_quoted(text)}"') for text in outcome.warnings)
        body = _formed(outcome.stored, resource, form_of(asked))
        return Answer(201 if outcome.created else 200, body, headers)

    def _delete_all(self, asked: Asked, resource: Resource) -> Answer:
        test = self._tests(asked, resource)
        with self.store.lock:
            gone = [item for item in self.store.table(resource).sorted(asked.namespace) if test(item.obj)]
            for item in gone:
                one = Asked(
                    "DELETE", asked.path, asked.query, asked.headers, asked.body, asked.user,
                    namespace=item.key[0], name=item.key[1],
                )  # fmt: skip
                self.writes.delete(one, resource)
        return Answer(200, _listed(gone, resource, Form(), {"resourceVersion": str(self.store.version)}))

    def _create(self, asked: Asked, resource: Resource) -> Answer:
        return self._written(asked, resource, self.writes.create(asked, resource))

    def _replace(self, asked: Asked, resource: Resource) -> Answer:
        return self._written(asked, resource, self.writes.replace(asked, resource))

    def _patch(self, asked: Asked, resource: Resource) -> Answer:
        return self._written(asked, resource, self.writes.patch(asked, resource))

    def _delete(self, asked: Asked, resource: Resource) -> Answer:
        return say(self.writes.delete(asked, resource))

    def _below(self, asked: Asked, resource: Resource) -> Answer:
        """Answer for a subresource: status, scale, and finalize of namespaces."""
        if asked.subresource == "scale" and resource.scale:
            return self._scale(asked, resource)
        known = {"status": resource.status, "finalize": resource.plural == "namespaces"}
        if not known.get(asked.subresource):
            return _nothing()
        acts = {"get": self._get, "update": self._replace, "patch": self._patch}
        if asked.verb not in acts:
            raise failures.not_allowed(asked.verb, f"{asked.resource}/{asked.subresource}")
        return acts[asked.verb](asked, resource)

    def _scale(self, asked: Asked, resource: Resource) -> Answer:
        if asked.verb in ("update", "patch"):
            wish = json.loads(asked.body).get("spec", {}).get("replicas", 0)
            patch = dumped({"spec": {"replicas": wish}})
            headers = dict(asked.headers) | {"content-type": "application/merge-patch+json"}
            one = Asked(
                "PATCH", asked.path, asked.query, headers, patch, asked.user,
                namespace=asked.namespace, name=asked.name, subresource="scale",
            )  # fmt: skip
            found = self.writes.patch(one, resource).stored
        else:
            found = self.writes.found(asked, resource)
        meta = {key: found.obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        labels = (found.obj["spec"].get("selector") or {}).get("matchLabels", {})
        status = {"replicas": found.obj.get("status", {}).get("replicas", 0)}
        status["selector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        spec = {"replicas": found.obj["spec"].get("replicas", 1)}
        return say({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})


class _Watch:
    """One watch: what it sends, line by line."""

    def __init__(
        self, api: Api, table: Table, test: Callable[[Json], bool], form: Form, *, marks: bool, initial: bool
    ) -> None:
        self._api, self._table, self._test, self._form = api, table, test, form
        self._marks, self._initial = marks, initial
        self._titled = False
        self._expiries = api.expiries

    def parts(self, since: int | None, end: float) -> Iterator[bytes]:
        """Yield lines until `end` (monotonic), or until the server stops."""
        if since is None:
            with self._api.store.lock:
                version, items = self._api.store.version, self._table.sorted()
            first = b"".join(self._line("ADDED", item) for item in items if self._test(item.obj))
            if self._initial and self._marks:
                first += self._bookmark(version, first=True)
            yield first
        else:
            version = since
        marked = time.monotonic() + self._api.bookmark
        while not self._api.stopping:
            found = self._next(version, min(end, marked))
            if found is None:
                text = f"too old resource version: {version} ({self._table.floor})"
                yield dumped({"type": "ERROR", "object": failures.status(410, "Expired", text)}) + b"\n"
                return
            version, lines = found
            yield lines
            late = time.monotonic()
            if late >= min(end, marked) and self._marks:
                yield self._bookmark(version)
            if late >= end:
                return
            if late >= marked:
                marked = late + self._api.bookmark

    def _next(self, version: int, until: float) -> tuple[int, bytes] | None:
        """Wait for something that happened after `version`; None where that is forgotten."""
        with self._table.changed:
            while not self._api.stopping:
                if self._api.muted:
                    self._table.changed.wait()
                    continue
                if version < self._table.floor or self._expiries != self._api.expiries:
                    return None
                found = self._after(version)
                if found or (left := until - time.monotonic()) <= 0:
                    break
                self._table.changed.wait(left)
            else:
                return version, b""
            last = self._api.store.version
        return max(last, version), b"".join(self._event(happened) for happened in found)

    def _after(self, version: int) -> list[Happened]:
        found = []
        for happened in reversed(self._table.log):
            if happened.version <= version:
                break
            found.append(happened)
        return found[::-1]

    def _event(self, happened: Happened) -> bytes:
        """Return the line for what happened, as it looks through the selector; nothing where it is not seen."""
        is_in = happened.word != "DELETED" and self._test(happened.stored.obj)
        was_in = happened.before is not None and self._test(happened.before.obj)
        if is_in:
            return self._line("MODIFIED" if was_in else "ADDED", happened.stored)
        return self._line("DELETED", happened.stored) if was_in else b""

    def _line(self, word: str, stored: Stored) -> bytes:
        body = _formed(stored, self._table.resource, self._form, titles=not self._titled)
        self._titled = True
        return b'{"type":"%s","object":%s}\n' % (word.encode(), body)

    def _bookmark(self, version: int, *, first: bool = False) -> bytes:
        meta: Json = {"resourceVersion": str(version), "creationTimestamp": None}
        if first:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self._table.resource
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        stored = Stored(obj, ("", ""), version)
        return b'{"type":"BOOKMARK","object":%s}\n' % _formed(stored, resource, self._form, titles=False)


def form_of(asked: Asked) -> Form:
    """Return the form that a client prefers, of those that it accepts."""
    accept = asked.headers.get("accept", "")
    if "as=" not in accept:
        return Form()
    first = accept.partition(",")[0].replace(" ", "")
    if "as=Table" in first:
        return Form("Table", asked.query.get("includeObject", "Metadata"))
    return Form("Partial") if "as=PartialObjectMetadata" in first else Form()


def _formed(stored: Stored, resource: Resource, form: Form, *, titles: bool = True) -> bytes:
    match form.kind:
        case "Table":
            meta = {"resourceVersion": stored.obj["metadata"].get("resourceVersion", "")}
            objects = [stored.obj] if "uid" in stored.obj["metadata"] else []
            return dumped(tables.table(resource, objects, meta, form.include, titles=titles))
        case "Partial":
            return dumped(tables.partial(stored.obj))
        case _:
            return _as(stored, resource)


def _as(stored: Stored, resource: Resource) -> bytes:
    """Return an object's JSON in the version of the kind that was asked for."""
    if stored.obj["apiVersion"] == resource.api_version:
        return stored.json
    return dumped(stored.obj | {"apiVersion": resource.api_version})


def _listed(items: list[Stored], resource: Resource, form: Form, meta: Json) -> bytes:
    if form.kind == "Table":
        return dumped(tables.table(resource, [item.obj for item in items], meta, form.include))
    if form.kind == "Partial":
        head: Json = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        return dumped(head | {"items": [tables.partial(item.obj) for item in items]})
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta}
    bodies = (_as(item, resource) if resource.custom else _untitled(item) for item in items)
    return dumped(head)[:-1] + b',"items":[' + b",".join(bodies) + b"]}"


def _untitled(item: Stored) -> bytes:
    """Return the JSON without kind and apiVersion, as the items of a list of a built-in kind are written."""
    title = dumped({"kind": item.obj["kind"], "apiVersion": item.obj["apiVersion"]})
    return b"{" + item.json[len(title) :]


def _nothing() -> Answer:
    return Answer(404, b"404 page not found\n", media="text/plain; charset=utf-8")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
