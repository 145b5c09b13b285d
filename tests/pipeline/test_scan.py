"""What the registries have, in one cycle and no longer."""

from __future__ import annotations

import gc
import threading
import weakref
from datetime import UTC, datetime

from updater.errors import RegistryError
from updater.model.image import ImageRef
from updater.pipeline.scan import Listing
from updater.registry.client import Registry
from updater.secrets import SecretError


def test_what_was_listed_goes_with_its_cycle() -> None:
    """All the tags of all images would wait for the collector of circles, and the tags of the next cycles with them."""
    image, asked = ImageRef.parse("registry.example.com/team/api"), threading.Event()

    def registry_of(_: ImageRef) -> Registry:
        if threading.current_thread() is not threading.main_thread():
            assert asked.wait(10)
        raise SecretError("no login")

    gc.disable()
    try:
        with Listing(registry_of, datetime.now(UTC), lambda _done, _all: None) as listing:
            listing.ask([image])
            asked.set()
            assert isinstance(listing.get([image])[image.name], RegistryError)
        left = weakref.ref(listing)
        del listing
        assert left() is None
    finally:
        gc.enable()
