"""Which clusters there are, where applications are described, and how they are kept in sync."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from updater.config.base import FilePath, Section, refusal
from updater.config.network import Network
from updater.model.durations import Interval, Rate, duration
from updater.secrets import SecretRef

CLUSTER = r"^[^\s/\x00-\x1f\x7f]+$"
USER = r"^[^\x00-\x1f\x7f]+$"
PLACES = ("kubeconfig", "in_cluster", "directory")

Command = Annotated[str, StringConstraints(min_length=1)]

# Keys of a cluster that say something about one kind of place only: elsewhere they would be ignored.
_ONLY_WITH = {"context": ("kubeconfig",), "exec": ("kubeconfig", "directory")}


def folder(value: str) -> str:
    """Check a folder in a repository and return it without needless parts; the root is `.`. Raises ValueError."""
    parts = value.split("/")
    if not value.strip() or ".." in parts or not value.isprintable() or value.startswith("/"):
        raise ValueError('expected a folder inside the repository, such as "applications"')
    return "/".join(part for part in parts if part not in {"", "."}) or "."


class ClusterSettings(Section):
    """One cluster, or a folder of kubeconfigs, each of which is one: its file's name without the ending names it."""

    name: str | None = Field(None, pattern=CLUSTER, description="how destinations call it; not beside `directory`")
    kubeconfig: SecretRef | None = Field(
        None, description="secret reference of a kubeconfig, e.g. file:cloud.kubeconfig"
    )
    context: str | None = Field(None, min_length=1, description="of the kubeconfig; null: its current one")
    in_cluster: bool = Field(default=False, description="the cluster that this runs in, by its service account")
    directory: FilePath | None = Field(None, description="a folder of kubeconfigs, picked up as they come")
    labels: dict[str, str] = Field({}, description="free words")
    exec: tuple[Command, ...] = Field((), description="commands that a kubeconfig may run to log in; []: none")
    impersonate: str | None = Field(None, pattern=USER, description="a user to act as, system:serviceaccount:ns:name")
    concurrency: int = Field(10, ge=1, le=64, description="requests at a time")
    rate: Rate | None = Field(
        20.0,
        description="requests a second at most, e.g. 20/s; null: no limit",
        json_schema_extra={"default": "20/s"},
    )
    network: Network = Field(Network(), description="overrides the network section, key by key")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [key for key in PLACES if getattr(self, key)]
        if len(given) != 1:
            found = " and ".join(f"`{key}`" for key in given) or "no place"
            raise refusal(given[1] if given else "", f"found {found}, expected one of {', '.join(PLACES)}")
        if self.directory is None and self.name is None:
            raise refusal(given[0], f"found `{given[0]}` without a name, expected `name` beside it")
        if self.directory is not None and self.name is not None:
            raise refusal("name", "found a name beside a directory, expected none: each file names its cluster")
        for key, places in _ONLY_WITH.items():
            if getattr(self, key) and given[0] not in places:
                raise refusal(key, f"found `{key}` beside `{given[0]}`, expected it beside {' or '.join(places)} only")
        return self


class ApplicationsSettings(Section):
    """Where Application manifests are: a folder in a repository, or a folder on this machine."""

    repository: str | None = Field(None, description="a repository's name")
    path: Annotated[str, AfterValidator(folder)] = Field(
        "applications", description="a folder in it, with all below it"
    )
    directory: FilePath | None = Field(None, description="a folder on this machine, in place of a repository")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.repository is not None and self.directory is not None:
            raise refusal("directory", "found `repository` and `directory`, expected one of them")
        if self.repository is None and self.directory is None:
            raise refusal("", "found neither `repository` nor `directory`, expected one of them")
        if self.directory is not None and "path" in self.model_fields_set:
            raise refusal("path", "found `path` beside `directory`, expected it beside `repository` only")
        return self


class SyncSettings(Section):
    """How applications are kept in sync."""

    poll: Interval = duration(30, "time between two looks at a repository")
    resync: Interval = duration(600, "everything is compared anew after this time, whatever was seen")
    deadline: Interval = duration(600, "how long one sync may take")
