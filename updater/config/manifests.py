"""Application manifests, as Argo CD's users have them, become applications; what is not supported is said, with lines.

They come from Git or from a folder, and are read as kubectl reads them: `null` is as if the key were not there. One
that is wrong never stops the others, but a file that is no YAML is lost whole.
https://argo-cd.readthedocs.io/en/stable/user-guide/application-specification/

An export (`kubectl get -o yaml`) can be read as it is. What the API server and another controller wrote there says
nothing that is wanted, and is left out: `status`, the times, versions and owners of fields in `metadata`, and the copy
of itself that kubectl keeps in an annotation. `metadata.namespace` is that of Argo CD, and `spec.info` is for people.
Everything else that is not done here is a mistake with its place: what is ignored in silence may be what protects.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from updater.config.base import has_password, http_url
from updater.config.delivery import folder
from updater.config.problems import EXPECTED, MAX_SHOWN, models, pattern
from updater.config.repositories import is_plain, same
from updater.config.spots import Spot, manifests
from updater.config.write_back import branch_name
from updater.errors import ManifestError, Problem
from updater.git.urls import check_url, parse
from updater.model import application as nouns
from updater.model.durations import MAX_DURATION, seconds
from updater.model.stream import Broken, decode
from updater.secrets import redact
from updater.sync.dialect import Loaded, load
from updater.sync.options import said

API = "argoproj.io/v1alpha1"
NOT_BUILT = frozenset({"ApplicationSet", "AppProject"})
FINALIZERS = tuple(f"resources-finalizer.argocd.argoproj.io{end}" for end in ("", "/foreground", "/background"))
SUSPEND = "updater/suspend"  # an annotation: "true" leaves the application alone
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_APPLICATIONS = 10_000  # in one file
MAX_PROBLEMS = 100  # of one file: whoever has more than that has one slip, many times
MAX_NAME = 245  # characters: its inventory is an object of Kubernetes whose name is longer by `updater-`
NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"
POINTER = r"^(/([^~/]|~[01])*)+$"

LATER = ", which is not supported yet"
_NOT_YET: Mapping[str, frozenset[str]] = {
    "": frozenset({"operation"}),
    "metadata": frozenset({"generateName", "ownerReferences"}),
    "spec": frozenset({"sources", "sourceHydrator"}),
    "spec.source": frozenset({"chart", "plugin", "ref", "name"}),
    "spec.source.directory": frozenset({"jsonnet"}),
    "spec.source.kustomize": frozenset(
        {"patches", "components", "replicas", "forceCommonLabels", "forceCommonAnnotations", "labelWithoutSelector",
         "commonAnnotationsEnvsubst", "version", "kubeVersion", "apiVersions", "ignoreMissingComponents",
         "labelIncludeTemplates"}
    ),
    "spec.source.helm": frozenset(
        {"fileParameters", "passCredentials", "version", "kubeVersion", "apiVersions", "skipTests",
         "skipSchemaValidation"}
    ),
    "spec.ignoreDifferences[]": frozenset({"jqPathExpressions"}),
    "spec.syncPolicy.retry": frozenset({"refresh"}),
}  # fmt: skip
"""Fields of Argo CD that a later version builds."""

_PATTERNS: Mapping[str, str] = {
    NAME: "small letters, digits, dashes and dots, as Kubernetes names objects",
    LABEL: "at most 63 small letters, digits and dashes, as Kubernetes names namespaces",
    POINTER: "a JSON pointer such as /spec/replicas",
}
_RANGE = re.compile(r"[*^~<>!,]|^=|\|\||\s")  # how ranges of versions are written, and names in Git are not
_SAID = re.compile(r"(?:found )?(?P<found>.*)[,;] expected (?P<expected>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refused:
    """An application that is there and cannot be used: `file:line` of its manifest, and its own mistakes."""

    origin: str
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Read:
    """What files hold: applications, and every mistake with its place.

    refused   by name, applications that are there and cannot be used; nobody may take them for removed
    lost      why a file could not be read to its end, or which mistakes name no application: any may stand there
    """

    applications: list[nouns.Application] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: dict[str, Refused] = field(default_factory=dict)
    lost: list[Problem] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether an application that is not here is not there."""
        return not self.lost

    def refuse(self, name: str, one: Refused) -> None:
        """Add the mistakes of an application, up to a limit; where it stands first stays its place."""
        first = self.refused.get(name, Refused(one.origin, ()))
        if len(first.problems) < MAX_PROBLEMS:
            problems = dict.fromkeys((*first.problems, *one.problems))
            self.refused[name] = Refused(first.origin, tuple(problems)[:MAX_PROBLEMS])


def read(data: bytes | str, file: str, insecure: Collection[str] = ()) -> Read:
    """Return the applications of one file. `insecure` are the repositories that may be read over plain HTTP."""
    found = Read()
    try:
        text = decode(data).removeprefix("\ufeff")
        loaded = load(text, file)
    except (Broken, ManifestError) as err:
        found.problems.append(_unreadable(err, file))
        found.lost += found.problems
        return found
    if len(loaded) > MAX_APPLICATIONS:
        found.problems.append(Problem(file, 1, 1, "", f"{len(loaded)} manifests", f"at most {MAX_APPLICATIONS}"))
        found.lost += found.problems
    spots: list[Spot] | None = None
    left_out = 0
    for number, one in enumerate(loaded[:MAX_APPLICATIONS]):
        try:
            found.applications.append(_application(one, file, insecure))
        except ValidationError as err:
            spots = manifests(text) if spots is None else spots
            spot = spots[number] if len(spots) == len(loaded) else Spot(one.line, 1)
            room = MAX_PROBLEMS - len(found.problems)
            own = list(islice(_problems(err, spot, file), max(room, 1)))  # who is refused is always told why
            found.problems += own[:room]
            left_out += max(0, err.error_count() - room)
            name = _name(one.manifest)
            if name:
                found.refuse(name, Refused(f"{file}:{one.line}", tuple(own)))
            elif name is None:
                found.lost += own
    if left_out:
        found.problems.append(Problem(file, 0, 0, "", f"{left_out} more mistakes", "none"))
    return found


def joined(reads: Iterable[Read]) -> Read:
    """Return what several files hold together; of applications with one name the first stays, the others are mistakes.

    The name of one that is refused is taken too: otherwise the other one would be deployed for as long as that lasts.
    """
    whole = Read()
    first: dict[str, nouns.Application] = {}
    for one in reads:
        whole.problems += one.problems
        whole.lost += one.lost
        for application in one.applications:
            name = application.name
            if name not in first and name in whole.refused:
                origin = whole.refused[name].origin
                problem = _twice(application, f"the first, at {origin}, is refused")
                whole.problems.append(problem)
                whole.refuse(name, Refused(origin, (problem,)))
            elif name not in first:
                first[name] = application
                whole.applications.append(application)
            elif (first[name], first[name].origin) != (application, application.origin):  # else a file is read twice
                whole.problems.append(_twice(application, f"first at {first[name].origin}"))
        for name, refused in one.refused.items():
            whole.refuse(name, refused)
    whole.problems = list(dict.fromkeys(whole.problems))
    return whole


def _twice(application: nouns.Application, first: str) -> Problem:
    file, _, line = application.origin.rpartition(":")
    found = f"the name {application.name!r} a second time ({first})"
    return Problem(file, int(line), 1, "metadata.name", found, "a name of its own")


def _name(manifest: Mapping[str, Any]) -> str | None:
    """Return the name of what may be an application, empty for what is none; None where it may be any."""
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if manifest.get("kind") != "Application":
        return ""
    return name if isinstance(name, str) and name else None


def _unreadable(err: Broken | ManifestError, file: str) -> Problem:
    """Turn what the reader of YAML says into a mistake."""
    line, why = (err.line, str(err)) if isinstance(err, Broken) else (0, str(err).removeprefix(f"{file}:"))
    if isinstance(err, ManifestError) and (match := re.match(r"([0-9]+): ", why)):
        line, why = int(match[1]), why[match.end() :]
    return Problem(file, line, 1 if line else 0, "", *_split(redact(why), "manifests of applications"))


def _split(message: str, expected: str) -> tuple[str, str]:
    """Return what was found and what was expected."""
    match = _SAID.fullmatch(message)
    return (match["found"], match["expected"]) if match else (message, expected)


def _problems(err: ValidationError, spot: Spot, file: str) -> Iterator[Problem]:
    details = err.errors(include_url=False)
    instead = {detail["loc"] for detail in details} & {("spec", "sources"), ("spec", "sourceHydrator")}
    for detail in details:
        if not (instead and detail["loc"] == ("spec", "source")):
            yield _problem(detail, spot, file)


def _problem(detail: Mapping[str, Any], spot: Spot, file: str) -> Problem:
    loc = [part for part in detail["loc"] if part != "[key]"] if detail["type"] != "kind" else ["kind"]
    kind, name, where = detail["type"], _shown(loc[-1] if loc else ""), _where(loc)
    at_key = kind == "extra_forbidden" or detail["loc"][-1:] == ("[key]",)
    line, column = spot.place(loc, at_key=at_key)
    found, expected = _found(detail.get("input")), "another value"
    if kind == "missing":
        found, expected = f"no `{name}`", f"`{name}`"
    elif kind == "extra_forbidden":
        holder = pattern(_where(loc[:-1]))
        late = name in _NOT_YET.get(holder, ())
        near = get_close_matches(name, sorted(_known().get(holder, ())), n=1)
        found = f"`{name}`{LATER}" if late else f"unknown key `{name}`"
        expected = f"`{near[0]}`" if near and not late else "a manifest without it"
    elif kind == "string_pattern_mismatch":
        found, expected = repr(str(detail["input"])[:MAX_SHOWN]), _PATTERNS[detail["ctx"]["pattern"]]
    elif kind in EXPECTED:
        expected = EXPECTED[kind](detail.get("ctx", {}))
        if kind == "string_type" and isinstance(detail["input"], bool | int | float):
            expected += " in quotes"
    else:
        found, expected = _split(detail["msg"].removeprefix("Value error, "), expected)
    return Problem(file, line, column, where, redact(found), expected)


@cache
def _known() -> Mapping[str, frozenset[str]]:
    """Return the keys of every mapping in a manifest by its place without numbers."""
    return {
        place: frozenset(info.alias or name for name, info in model.model_fields.items())
        for place, model in models("", _Manifest)
    }


def _where(loc: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in loc).lstrip(".")


def _shown(part: int | str) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= MAX_SHOWN else repr(text[:MAX_SHOWN])


def _found(value: object) -> str:
    """Name the kind of a value, and tell numbers; texts may be secrets."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return "a text" if value else "an empty text"
        case _:
            return "a mapping" if isinstance(value, Mapping) else "a list"


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, strict=True, str_max_length=1 << 20
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """Leave out what is null, as an API server does; a key that nobody knows stays one."""
        if not isinstance(value, Mapping):
            return value
        known = {info.alias for info in cls.model_fields.values()}
        return {key: inner for key, inner in value.items() if inner is not None or key not in known}


def _seconds(value: object) -> float:
    number = isinstance(value, str) and 0 < len(value) < 10 and value.isascii() and value.isdigit()
    try:
        length = seconds(int(str(value)) if number else value)
    except ValueError:
        length = -1
    if not 0 <= length <= MAX_DURATION:
        raise ValueError(f"found {str(value)[:MAX_SHOWN]!r}, expected a duration such as 5s, 3m or 1h")
    return float(length)


def _path(value: str) -> str:
    try:
        return folder(value or ".")
    except ValueError as err:
        raise ValueError(f"found {value[:MAX_SHOWN]!r}, {err}") from None


def _url(value: str, info: ValidationInfo) -> str:
    """Check the address of a repository. Whether there is a login for it is judged where it is used."""
    if has_password(value):
        raise ValueError("found a literal secret inside a URL, expected the URL alone, and the secret in `git_hosts`")
    shown = repr(value[:MAX_SHOWN])
    try:
        path = parse(value).path
    except ValueError:
        raise ValueError(f"found {shown}, expected https://, ssh:// or git@host:path") from None
    if not is_plain(path):
        raise ValueError(f"found {shown}, expected the path of a repository without dots that lead elsewhere")
    try:
        check_url(value, insecure=any(same(value, url) for url in info.context or ()))
    except ValueError:
        raise ValueError(f"found {shown}, plain text on the way, expected https:// or ssh://") from None
    return value


def _revision(value: str) -> str:
    if not value:
        return "HEAD"
    shown = repr(value[:MAX_SHOWN])
    if _RANGE.search(value):
        raise ValueError(f"found {shown}, a range of versions{LATER}, expected {_REVISION}")
    try:
        return branch_name(value)
    except ValueError:
        raise ValueError(f"found {shown}, expected {_REVISION}") from None


_REVISION = "the name of a branch or a tag, a commit, or HEAD"


def _value_file(value: str) -> str:
    if "://" in value or value.startswith("$"):
        where = "of another source" if value.startswith("$") else "at an address"
        raise ValueError(f"found a value file {where}{LATER}, expected a path in the repository")
    return value


def _server(value: str) -> str:
    if has_password(value):
        raise ValueError("found a literal secret inside a URL, expected the address alone")
    try:
        return http_url(value) if value else value
    except ValueError as err:
        raise ValueError(f"found {value[:MAX_SHOWN]!r}, {err}") from None


def _option(value: str) -> str:
    said([value])
    return value.strip()


def _finalizer(value: str) -> str:
    if value not in FINALIZERS:
        raise ValueError(f"found {value[:MAX_SHOWN]!r}, expected one of {', '.join(FINALIZERS)}")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds)]
Inside = Annotated[str, AfterValidator(_path)]
Url = Annotated[str, AfterValidator(_url)]
Revision = Annotated[str, AfterValidator(_revision)]
ValueFile = Annotated[str, AfterValidator(_value_file)]
Server = Annotated[str, AfterValidator(_server)]
Option = Annotated[str, AfterValidator(_option)]
Finalizer = Annotated[str, AfterValidator(_finalizer)]
Pointer = Annotated[str, Field(pattern=POINTER)]
Namespace = Annotated[str, Field(pattern=LABEL)]


def _list(item: Any) -> Any:
    """Return a tuple that takes YAML's lists, strict in all else."""
    return Annotated[tuple[item, ...], Field(strict=False)]


class _Metadata(_Part):
    name: str = Field(pattern=NAME, max_length=MAX_NAME)
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: _list(Finalizer) = ()  # type: ignore[valid-type]
    creation_timestamp: Any = None
    generation: Any = None
    managed_fields: Any = None
    resource_version: Any = None
    self_link: Any = None
    uid: Any = None

    @field_validator("annotations")
    @classmethod
    def _suspended(cls, value: dict[str, str]) -> dict[str, str]:
        if (word := value.get(SUSPEND, "false")) not in {"true", "false"}:
            raise ValueError(f'found {word[:MAX_SHOWN]!r} in {SUSPEND}, expected "true" or "false"')
        return {key: text for key, text in value.items() if key != LAST_APPLIED}


class _Directory(_Part):
    recurse: bool = False
    include: str = ""
    exclude: str = ""


class _Kustomize(_Part):
    images: _list(str) = ()  # type: ignore[valid-type]
    name_prefix: str = ""
    name_suffix: str = ""
    namespace: Namespace = ""
    common_labels: dict[str, str] = {}
    common_annotations: dict[str, str] = {}


class _Parameter(_Part):
    name: str = Field(min_length=1)
    value: str = ""
    force_string: bool = False


class _Helm(_Part):
    release_name: Namespace = ""
    value_files: _list(ValueFile) = ()  # type: ignore[valid-type]
    values: str = ""
    values_object: dict[str, Any] | None = None
    parameters: _list(_Parameter) = ()  # type: ignore[valid-type]
    skip_crds: bool = False
    ignore_missing_value_files: bool = False
    namespace: Namespace = ""


class _Source(_Part):
    repo_url: Url = Field(alias="repoURL")
    path: Inside = "."
    target_revision: Revision = "HEAD"
    directory: _Directory | None = None
    kustomize: _Kustomize | None = None
    helm: _Helm | None = None

    @model_validator(mode="after")
    def _one_tool(self) -> Self:
        tools = [name for name in ("directory", "kustomize", "helm") if getattr(self, name) is not None]
        if len(tools) > 1:
            raise ValueError(f"found {' and '.join(tools)}, expected one of them at most")
        return self


class _Destination(_Part):
    name: str = ""
    server: Server = ""
    namespace: Namespace = ""

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        if self.name and self.server:
            raise ValueError("found both name and server, expected exactly one of them")
        if not self.name and not self.server:
            raise ValueError("found neither name nor server, expected exactly one of them")
        return self


class _Automated(_Part):
    enabled: bool = True
    prune: bool = False
    self_heal: bool = False
    allow_empty: bool = False


class _Backoff(_Part):
    duration: Seconds = 5.0
    factor: int = Field(2, ge=1, le=100)
    max_duration: Seconds = 180.0


class _Retry(_Part):
    limit: int = Field(5, ge=-1, description="-1: without end")
    backoff: _Backoff = _Backoff()


class _Managed(_Part):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Policy(_Part):
    automated: _Automated | None = None
    sync_options: _list(Option) = ()  # type: ignore[valid-type]
    retry: _Retry | None = None
    managed_namespace_metadata: _Managed | None = None

    @field_validator("sync_options")
    @classmethod
    def _of_one_mind(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [word.partition("=")[0] for word in sorted(set(value))]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"found {twice[0]} with several values, expected one")
        return value


class _Ignored(_Part):
    group: str = ""
    kind: str = Field(min_length=1)
    name: str = ""
    namespace: str = ""
    json_pointers: _list(Pointer) = ()  # type: ignore[valid-type]
    managed_fields_managers: _list(str) = ()  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.json_pointers and not self.managed_fields_managers:
            raise ValueError("found nothing to ignore, expected jsonPointers or managedFieldsManagers")
        return self


class _Info(_Part):
    name: str
    value: str = ""


class _Spec(_Part):
    project: str = ""
    source: _Source
    destination: _Destination
    sync_policy: _Policy = _Policy()
    ignore_differences: _list(_Ignored) = ()  # type: ignore[valid-type]
    revision_history_limit: int = Field(10, ge=0, le=1000)
    info: _list(_Info) = ()  # type: ignore[valid-type]


class _Manifest(_Part):
    api_version: Literal["argoproj.io/v1alpha1"]
    kind: Literal["Application"]
    metadata: _Metadata
    spec: _Spec
    status: Any = None

    @model_validator(mode="before")
    @classmethod
    def _an_application(cls, value: Any) -> Any:
        """Say what a manifest is that is no application; its fields say nothing then."""
        kind, version = value.get("kind"), value.get("apiVersion")
        if (kind, version) == ("Application", API):
            return value
        shown = f"kind {_word(kind)} of {_word(version)}" if "kind" in value else "no `kind`"
        late = LATER if version == API and isinstance(kind, str) and kind in NOT_BUILT else ""
        raise PydanticCustomError("kind", "{said}", {"said": f"found {shown}{late}, expected Application of {API}"})


def _word(value: object) -> str:
    return _shown(value) if isinstance(value, str) and value else _found(value)


def _application(one: Loaded, file: str, insecure: Collection[str]) -> nouns.Application:
    """Return one application. Raises ValidationError."""
    manifest = _Manifest.model_validate(one.manifest, context=insecure)
    metadata, spec = manifest.metadata, manifest.spec
    destination = spec.destination
    return nouns.Application(
        name=metadata.name,
        source=_source(spec.source),
        destination=nouns.Destination(destination.name, destination.server, destination.namespace),
        project=spec.project or "default",
        labels=metadata.labels,
        annotations=metadata.annotations,
        policy=_policy(spec.sync_policy),
        ignored=tuple(_ignored(spec.ignore_differences)),
        history=spec.revision_history_limit,
        cascade=bool(metadata.finalizers),
        suspend=metadata.annotations.get(SUSPEND) == "true",
        origin=f"{file}:{one.line}",
    )


def _source(source: _Source) -> nouns.Source:
    directory, kustomize, helm = source.directory, source.kustomize, source.helm
    return nouns.Source(
        source.repo_url,
        source.path,
        source.target_revision,
        nouns.Directory(directory.recurse, directory.include, directory.exclude) if directory else None,
        nouns.Kustomize(**dict(kustomize)) if kustomize else None,
        nouns.Helm(**dict(helm) | {"parameters": tuple(nouns.HelmParameter(**dict(p)) for p in helm.parameters)})
        if helm
        else None,
    )


def _policy(policy: _Policy) -> nouns.SyncPolicy:
    retry, namespace = policy.retry, policy.managed_namespace_metadata or _Managed()
    pace = retry.backoff if retry else _Backoff()
    return nouns.SyncPolicy(
        nouns.Automated(**dict(policy.automated)) if policy.automated else None,
        frozenset(policy.sync_options),
        nouns.Retry(retry.limit if retry else 5, pace.duration, float(pace.factor), pace.max_duration),
        namespace.labels,
        namespace.annotations,
    )


def _ignored(rules: Sequence[_Ignored]) -> Iterator[nouns.Ignored]:
    for rule in rules:
        yield nouns.Ignored(
            rule.group, rule.kind, rule.name, rule.namespace, rule.json_pointers, rule.managed_fields_managers
        )
