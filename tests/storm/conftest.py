"""The whole path over each transport that the product offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.git import Embedded, Ssh
from tests.lab.path import WholePath

TRANSPORTS: dict[str, type[Embedded | Ssh]] = {"http": Embedded, "ssh": Ssh}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WholePath]:
    """Each in turn; one whose programs are not installed is left out by name."""
    server: type[Embedded | Ssh] = TRANSPORTS[request.param]
    if missing := server.missing():
        pytest.skip(f"left out: {request.param} needs {', '.join(missing)}")
    with WholePath.open(tmp_path, "embedded", server) as opened:
        yield opened
