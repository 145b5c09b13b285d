"""Debian's Chromium without a window, and what it complains about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 30_000.0  # milliseconds
# No sandbox: the tests may be root in a container. What else it would do by itself is off.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")  # fmt: skip
BAD = ("error", "warning")
needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="left out: chromium is not installed")


@dataclass
class Reader:
    """A page in the browser; `complaints` is what its console says that is not good."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@contextmanager
def reader(**options: Any) -> Iterator[Reader]:
    """Open a browser with one empty page; `options` are those of a context of Playwright."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*ARGUMENTS])
        found = Reader(browser.new_context(**options).new_page())
        found.page.set_default_timeout(PATIENCE)
        found.page.on("console", lambda said: found.complaints.extend([said.text] if said.type in BAD else []))
        found.page.on("pageerror", lambda err: found.complaints.append(str(err)))
        yield found
        browser.close()
