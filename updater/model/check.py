"""What has to be proven of a candidate before it is written, beyond what its registry says of its tags."""

from __future__ import annotations

from dataclasses import dataclass

from updater.model.image import ImageRef
from updater.secrets import SecretRef


@dataclass(frozen=True, slots=True)
class Signed:
    """That a digest has a good signature: `image` has no tag and that digest, `key` is where the public keys are."""

    image: ImageRef
    key: SecretRef


@dataclass(frozen=True, slots=True)
class Mirrored:
    """That a mirror has the tag of `image`, and its digest, as far as it has them.

    `same` is the digest that the tag must name there; None: any.
    """

    image: ImageRef
    same: str | None = None


Check = Signed | Mirrored
