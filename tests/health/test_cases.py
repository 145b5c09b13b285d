"""How objects are: one document a case, under the name of its rule, with the word that is expected of it.

health   the word, null where the object has no health
message  what it says, where that matters
secrets  which Secrets exist; none named: nobody could find out
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from updater.health.assess import LONGEST, health_of, needs, overall
from updater.health.base import rules
from updater.model.health import Health, HealthStatus
from updater.model.resource import Key

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.glob("*/*.yaml"))
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Loader(yaml.SafeLoader):
    """Times stay texts, as they are in JSON."""


Loader.yaml_implicit_resolvers = {
    char: [found for found in resolvers if found[0] != "tag:yaml.org,2002:timestamp"]
    for char, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def health(live: Any, exists: Any = lambda _: None) -> HealthStatus | None:
    return health_of(live, exists=exists, now=NOW)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}: {file.stem.replace('_', ' ')}")
def test_an_object_is(file: Path) -> None:
    expected, live = yaml.load_all(file.read_text("utf-8"), Loader)
    secrets = expected.get("secrets", {})
    found = health_of(
        live,
        exists=lambda key: secrets.get(f"{key.namespace}/{key.name}"),
        now=NOW,
        ingress_address=expected.get("ingress_address", True),
    )
    assert (found and found.health) == expected["health"], found
    if "message" in expected:
        assert found is not None
        assert found.message == expected["message"]


def test_every_rule_has_cases_of_its_own() -> None:
    modules = {type(rule).__module__.rpartition(".")[2] for rule in rules().values()}
    assert modules == {file.parent.name for file in FILES} - {"any"}


def test_every_kind_has_a_case() -> None:
    seen = set()
    for file in FILES:
        _, live = yaml.load_all(file.read_text("utf-8"), Loader)
        seen.add((live["apiVersion"].rpartition("/")[0], live["kind"]))
    assert rules().keys() <= seen


def test_an_external_secret_needs_its_secret() -> None:
    live = {"apiVersion": "alibabacloud.com/v1alpha1", "kind": "ExternalSecret"}
    assert needs({**live, "metadata": {"name": "db", "namespace": "shop"}}) == (Key("", "Secret", "shop", "db"),)
    assert needs({**live, "metadata": 3}) == ()


@pytest.mark.parametrize(
    "live",
    [
        pytest.param({"kind": "Pod", "apiVersion": "v1"}, id="everything else is missing"),
        pytest.param({"kind": ["Pod"], "apiVersion": "v1"}, id="a kind that is a list"),
        pytest.param({"kind": "Pod", "apiVersion": {}}, id="a version that is a mapping"),
        pytest.param({"kind": "Pod", "apiVersion": "v1", "metadata": "none"}, id="metadata that is a text"),
        pytest.param({"kind": "Pod", "apiVersion": "v1", "metadata": {"annotations": []}}, id="annotations in a list"),
        pytest.param(
            {"kind": "Pod", "apiVersion": "v1", "metadata": {"deletionTimestamp": 1, "finalizers": 3}}, id="finalizers"
        ),
    ],
)
def test_what_cannot_be_read_is_unknown_and_no_crash(live: Any) -> None:
    found = health(live)
    assert found is not None
    assert found.health is Health.UNKNOWN
    assert found.message


def test_a_long_message_is_cut() -> None:
    live = {"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Failed", "message": "x" * 9_000}}
    found = health(live)
    assert found is not None
    assert len(found.message) == LONGEST


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "conditions",
    "replicas",
    "phase",
    "loadBalancer",
    "containerStatuses",
    "observedGeneration",
    "lastScheduleTime",
)


@given(
    kind=st.sampled_from(sorted(rules())),
    spec=JSON,
    status=JSON | st.dictionaries(st.sampled_from(FIELDS), JSON),
    annotations=JSON,
)
def test_no_status_makes_a_rule_raise(kind: tuple[str, str], spec: Any, status: Any, annotations: Any) -> None:
    group, name = kind
    metadata = {"name": "x", "annotations": annotations}
    live = {
        "apiVersion": f"{group}/v1" if group else "v1",
        "kind": name,
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }
    found = health(live)
    assert found is None or isinstance(found.health, Health)


def status(word: Health) -> HealthStatus:
    return HealthStatus(word)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        pytest.param([], Health.HEALTHY, id="no objects at all"),
        pytest.param([None, None], Health.HEALTHY, id="objects that have no health"),
        pytest.param([status(Health.HEALTHY), status(Health.SUSPENDED)], Health.SUSPENDED, id="the worst of two"),
        pytest.param([status(Health.DEGRADED), status(Health.PROGRESSING)], Health.DEGRADED, id="whatever the order"),
        pytest.param([status(Health.UNKNOWN), status(Health.DEGRADED)], Health.UNKNOWN, id="Unknown is the worst"),
        pytest.param([status(Health.MISSING), status(Health.HEALTHY)], Health.HEALTHY, id="one that is missing"),
        pytest.param([status(Health.MISSING), None], Health.HEALTHY, id="one missing, one without health"),
        pytest.param([status(Health.MISSING)] * 2, Health.MISSING, id="all are missing"),
    ],
)
def test_an_application_is_as_its_worst_object(statuses: list[HealthStatus | None], expected: Health) -> None:
    assert overall(statuses) is expected
