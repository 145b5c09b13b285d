"""Where the targets of updates come from: asked for what is about to be written, and for nothing else.

Nothing waits long for it and nothing fails for it: what is not told in time is not known. Of content that nobody
looked at nothing is asked; of a manifest its configuration said it already; of an index it takes two requests, once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from updater.errors import UpdaterError
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.model.tag import Described
from updater.pipeline.facts import AT_ONCE, recalled, stored
from updater.pipeline.scan import RegistryOf

if TYPE_CHECKING:  # SQLAlchemy is loaded where the state is used
    from updater.store.descriptions import Descriptions

PATIENCE = 10.0  # seconds for all of them together: a link is not worth more

Targets = Collection[ImageRef]  # each by its digest


def origins(
    targets: Targets,
    registry_of: RegistryOf,
    descriptions: Descriptions,
    now: datetime,
    *,
    patience: float = PATIENCE,
) -> dict[ImageRef, Origin]:
    """Return where these come from, as far as it is known; what was asked is remembered. Never raises UpdaterError."""
    try:
        remembered = descriptions.get({image.digest for image in targets if image.digest})
        known = {image: remembered[image.digest] for image in targets if image.digest in remembered}
        found = _ask({image: one for image, one in known.items() if _lacks(one)}, registry_of, patience)
        descriptions.put({image.digest: one for image, one in found.items() if image.digest}, now)
    except UpdaterError:
        return {}
    return {image: one.origin for image, one in (known | found).items() if one.origin}


def _lacks(known: Described) -> bool:
    return not (known.asked_created or known.origin.complete) and known.speaker is not None


def _ask(images: Mapping[ImageRef, Described], registry_of: RegistryOf, patience: float) -> dict[ImageRef, Described]:
    if not images:
        return {}
    until = time.monotonic() + patience

    def told(image: ImageRef) -> Described | None:
        known = recalled(image.digest or "", images[image])
        with contextlib.suppress(UpdaterError):
            within = until - time.monotonic()
            return stored(registry_of(image).complete(image.repository, known, within=within)) if within > 0 else None
        return None

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="origins") as pool:
        answers = zip(images, pool.map(told, images), strict=True)
        return {image: answer for image, answer in answers if answer is not None}
