"""Commits made of texts, and applications that come from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.tools import programs
from updater.model.application import Application, Destination, Source
from updater.renderers.files import LINK, SUBMODULE, Files
from updater.renderers.front import Front
from updater.renderers.tools import Tools

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {0}}}\n"
ADDRESS = "https://git.example.com/fleet.git"


@dataclass(frozen=True)
class Entry:
    oid: str
    mode: str


class Commit:
    """A tree in memory; `asked` counts the requests for contents."""

    def __init__(
        self,
        files: Mapping[str, str | bytes],
        *,
        links: Mapping[str, str] | None = None,
        submodules: Iterable[str] = (),
        large: Iterable[str] = (),
    ) -> None:
        self.asked = 0
        self._contents: dict[str, bytes] = {}
        self._entries = {path: Entry(self._keep(content), "100644") for path, content in files.items()}
        self._entries |= {path: Entry(self._keep(to), LINK) for path, to in (links or {}).items()}
        self._entries |= {path: Entry("0" * 40, SUBMODULE) for path in submodules}
        for path in large:
            del self._contents[self._entries[path].oid]

    def paths(self) -> Mapping[str, Entry]:
        return self._entries

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        self.asked += 1
        return {oid: self._contents[oid] for oid in oids if oid in self._contents}

    def _keep(self, content: str | bytes) -> str:
        data = content.encode() if isinstance(content, str) else content
        oid = hashlib.sha1(data).hexdigest()
        self._contents[oid] = data
        return oid


def files(contents: Mapping[str, str | bytes], **others: Any) -> Files:
    """The files of a commit that is made of these."""
    return Files(Commit(contents, **others))


def application(path: str = ".", *, name: str = "api", **source: Any) -> Application:
    """An application that comes from a folder."""
    return Application(name, Source(ADDRESS, path, **source), Destination("in-cluster"))


def front(folder: Path, path: Path | str | None = None, **tools: Any) -> Front:
    """A front that works below a folder, by default with the genuine programs."""
    return Front(Tools(folder / "render", path=str(programs() if path is None else path), **tools))
