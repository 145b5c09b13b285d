"""Proves what decisions ask to have proven: signatures, and tags at mirrors. Each is asked once a cycle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from updater.errors import RegistryError
from updater.model.check import Check, Mirrored, Signed, Signer
from updater.model.image import ImageRef
from updater.registry.client import NotFound, Registry
from updater.secrets import SecretError, SecretRef

if TYPE_CHECKING:  # cryptography is loaded where signatures are checked
    from updater.registry.signatures import Signers

AT_ONCE = 8  # proofs; each registry bounds its own requests
MAX_KNOWN = 10_000  # signed digests that are remembered


class Unproven(RegistryError):
    """What could not be found out about a check, which says nothing about what was to be proven.

    `registry` is the host that failed, empty where it is the key or trust root; `said` is the error itself.
    """

    def __init__(self, said: RegistryError | SecretError, registry: str) -> None:
        super().__init__(str(said), retry_at=said.retry_at if isinstance(said, RegistryError) else None)
        self.said, self.registry = said, registry


@dataclass(slots=True)
class Verifier:
    """Remembers which digests were signed by whom: neither changes any more. Threads share it."""

    _good: dict[tuple[str, str], None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def unsigned(self, registry: Registry, image: ImageRef, signers: Signers) -> str:
        """Return why no signature of an image's digest is good; empty where one is. Raises RegistryError."""
        known = str(image), signers.fingerprint
        if known in self._good:
            return ""
        why = registry.unsigned(image.repository, image.digest or "", signers)
        if not why:
            with self._lock:
                self._good[known] = None
                while len(self._good) > MAX_KNOWN:
                    del self._good[next(iter(self._good))]
        return why


def prove(
    checks: Iterable[Check], registry_of: Callable[[ImageRef], Registry], verifier: Verifier
) -> dict[Check, str | Unproven]:
    """Return for each check nothing where it is so, why not where it is not, or the failure that hides which."""
    asked = tuple(checks)

    def one(check: Check) -> str | Unproven:
        try:
            registry = registry_of(check.image)
            if isinstance(check, Mirrored):
                return _unmirrored(registry, check)
            return _unsigned(registry, check, verifier)
        except Unproven as err:
            return err
        except (RegistryError, SecretError) as err:
            return Unproven(err, check.image.registry)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="checks") as pool:
        return dict(zip(asked, pool.map(one, asked), strict=True))


def _unsigned(registry: Registry, check: Signed, verifier: Verifier) -> str:
    from updater.registry.cosign import KeyUnusable

    try:
        signers = _signers(check.by)
    except (KeyUnusable, SecretError) as err:
        raise Unproven(err, "") from err
    return verifier.unsigned(registry, check.image, signers)


def _signers(by: SecretRef | Signer) -> Signers:
    from updater.registry.cosign import KeyUnusable, read_keys

    if isinstance(by, SecretRef):
        return read_keys(by.resolve(), by.reference)
    try:
        from updater.registry.keyless import read_signer
    except ImportError as err:
        raise KeyUnusable(f"the package sigstore cannot be loaded: {err}; pip install 'updater[sigstore]'") from err
    return read_signer(by)


def _unmirrored(registry: Registry, check: Mirrored) -> str:
    """Ask a mirror with what its own entry says: nobody said that it may see the login of what it mirrors."""
    image = check.image
    for reference in filter(None, (image.tag, image.digest)):
        try:
            found = registry.digest(image.repository, reference)
        except NotFound:
            return f"{image.name} has no {reference} yet"
        if reference == image.tag and check.same not in {None, found}:
            return f"{image.name}:{image.tag} is {found[:19]}, and what was verified is {str(check.same)[:19]}"
    return ""
