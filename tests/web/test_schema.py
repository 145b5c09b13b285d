"""The API keeps its own description, whatever it is asked: schemathesis over a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS

from tests.lab.front import Front, fleet
from tests.lab.loop import open_lab
from updater.web.api import ENDPOINTS
from updater.web.openapi import document

schema = schemathesis.openapi.from_dict(document(ENDPOINTS)).exclude(path="/api/v1/stream")  # never ends


MEANT = [
    CHECKS.get_one("ignored_auth"),  # this machine needs no login; tests/web/test_guard.py asks who needs one
    CHECKS.get_one("positive_data_acceptance"),  # a shape does not say which cursors there are, and which tags
    CHECKS.get_one("unsupported_method"),  # a name may end in /hold: GET of that path asks for such an image
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, str]]:
    with open_lab(tmp_path_factory.mktemp("front")) as lab, fleet(lab) as found:
        found.cycle()
        found.get("/")
        with found.served() as url:
            yield found, url


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_its_description(front: tuple[Front, str], case: Any) -> None:
    found, url = front
    names = case.path_parameters or {}
    if "name" in names and len(names["name"]) % 2 and not case.path.endswith("/rollback"):
        names["name"] = "api"  # else nothing but what is not there would be asked for
    case.call_and_validate(base_url=url, headers=session(found, url), excluded_checks=MEANT, timeout=20)


def session(front: Front, url: str) -> dict[str, str]:
    """Log in as a browser of this machine does."""
    if front.session.get("Origin") != url:
        answer = httpx.get(f"{url}/api/v1/session", timeout=20.0)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        front.session = {"Cookie": cookie, "X-CSRF-Token": answer.json()["csrf"], "Origin": url}
    return front.session
