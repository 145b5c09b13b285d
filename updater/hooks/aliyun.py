"""Alibaba Cloud Container Registry: triggers, which neither sign nor name their host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from updater.hooks.base import Hint, Hook, RegistryName, texts


class Aliyun(Hook):
    """A trigger of a repository: its address is `/hooks/NAME/PATH`, where nobody guesses the path.

    It says which region it is in, not under which name its images are pulled: `registry` does.
    """

    kind: Literal["aliyun"] = "aliyun"
    registry: RegistryName = Field(description="its name in images, e.g. registry.cn-hangzhou.aliyuncs.com")

    proofs: ClassVar[frozenset[str]] = frozenset({"path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repository that was pushed to."""
        repository = texts(document, "repository", "repo_full_name")
        if repository and texts(document, "push_data", "tag"):
            yield Hint(image=f"{self.registry}/{repository}")
