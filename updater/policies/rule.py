"""The fields of an image, or of an item of it, that decide which tag is wanted and how it is written."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, model_validator
from pydantic import Tag as Shape

from updater.model.check import Signer
from updater.model.durations import Duration, duration
from updater.plugins import Member, one_of
from updater.policies.base import Level, Policy
from updater.policies.docker import Docker
from updater.policies.filters import Expression, TagFilters
from updater.secrets import SecretRef

if TYPE_CHECKING:
    AnyPolicy = Policy
else:
    AnyPolicy = one_of(Policy)

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?")


def _same(value: object) -> object:
    if value != "same":
        raise ValueError("expected same, or a list such as [linux/amd64, linux/arm64]")
    return value


def _platform(text: str) -> str:
    if not _PLATFORM.fullmatch(text):
        raise ValueError("expected os/architecture[/variant], e.g. linux/arm64")
    return text


Platform = Annotated[str, AfterValidator(_platform), Field(json_schema_extra={"pattern": f"^{_PLATFORM.pattern}$"})]
Platforms = Annotated[
    Annotated[Literal["same"], BeforeValidator(_same), Shape("same")] | Annotated[tuple[Platform, ...], Shape("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "same"),
]  # told apart by shape, so that a mistake is one complaint and not one for each kind


Name = Annotated[str, Field(min_length=1, max_length=2000)]


class Cosign(Member):
    """Signatures that cosign made: with a key, or without one for an identity that an issuer vouches for."""

    key: SecretRef | None = Field(
        None, description="its public keys in PEM, ECDSA P-256; of several blocks any may have signed"
    )
    identity: Name | None = Field(None, description="without a key: who signed, a URI or mail address to the letter")
    identity_pattern: Expression | None = Field(None, description="or an RE2 expression that all of it must match")
    issuer: Name | None = Field(None, description="who vouches for the identity, e.g. https://accounts.google.com")
    trust_root: SecretRef | None = Field(
        None, description="trusted_root.json of the authority and its logs; null: Sigstore's public instance"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        names = ("key", "identity", "identity_pattern")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"found {' and '.join(given) or 'nobody'}, expected one of {', '.join(names)}")
        if self.key is not None:
            if self.issuer is not None or self.trust_root is not None:
                raise ValueError("found key with issuer or trust_root, expected key alone")
        elif self.issuer is None:
            raise ValueError(f"found {given[0]} without issuer, expected both: any issuer can vouch for any name")
        elif "*" in (self.identity or ""):
            raise ValueError("found * in identity, which is to the letter, expected identity_pattern")
        elif importlib.util.find_spec("sigstore") is None:
            raise ValueError(f"found {given[0]}, which needs a package, expected pip install 'updater[sigstore]'")
        return self

    @property
    def signer(self) -> SecretRef | Signer:
        """Where the keys are, or who must have signed without one."""
        if self.key is not None:
            return self.key
        identity = self.identity or self.identity_pattern or ""
        return Signer(identity, self.issuer or "", self.identity is None, self.trust_root)


class Verify(Member):
    """Who must have signed what is written."""

    cosign: Cosign = Field(description="as cosign signs")


class Choice(Member):
    """What chooses among tags, from their names alone; `updater policy` reads it too."""

    policy: AnyPolicy = Field(Docker(), description="which tag is wanted")
    tags: TagFilters = Field(TagFilters(), description="which tags count, and what of them is compared")
    level: Level | None = Field(None, description="highest change allowed; null: by the policy")
    max_major_step: Annotated[int, Field(ge=0)] = Field(20, description="stray tags are further ahead; 0: any")
    downgrade: Literal["never", "allow"] = Field("never", description="whether an older version may replace a newer")


class Rule(Choice):
    """How one item decides, what must be true of a tag before it is taken, and what is written."""

    min_age: Duration = duration(0, "how long a tag must be known; for those of our first scan, since it was created")
    platforms: Platforms = Field("same", description="every platform of the current tag, or a list; []: not checked")
    moved_tag: Literal["hold", "follow"] = Field("hold", description="a tag whose digest changed after we first saw it")
    verify: Verify | None = Field(None, description="whose signature the digest must have; null: nobody's")
    write: Literal["tag", "digest", "tag_digest"] = Field("tag", description="what is written")
