"""What has to be proven of a candidate before it is written, beyond what its registry says of its tags."""

from __future__ import annotations

from dataclasses import dataclass

from updater.model.image import ImageRef
from updater.secrets import SecretRef


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who signs without a key of their own: an identity that an issuer has vouched for.

    `identity` is a URI or a mail address to the letter, or where `pattern` says so an RE2 expression that all of it
    must match; `issuer` is to the letter. `trust_root` is where the trusted_root.json of the authority and its logs
    is; None: Sigstore's public instance.
    """

    identity: str
    issuer: str
    pattern: bool = False
    trust_root: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """That a digest has a good signature: `image` has no tag and that digest.

    `by` is where the public keys are, any of which may have signed, or who must have signed without one.
    """

    image: ImageRef
    by: SecretRef | Signer


@dataclass(frozen=True, slots=True)
class Mirrored:
    """That a mirror has the tag of `image`, and its digest, as far as it has them.

    `same` is the digest that the tag must name there; None: any.
    """

    image: ImageRef
    same: str | None = None


Check = Signed | Mirrored
