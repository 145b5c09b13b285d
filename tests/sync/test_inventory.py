"""What an application has: ids, parents and members as KEP-3659 defines them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sync.objects import made
from updater.model.resource import Key, Resource
from updater.sync.inventory import (
    applyset_id,
    copied,
    growing,
    identity,
    member,
    members_of,
    parent,
    set_of,
    shrunk,
    tracking,
)

WEB, API = Key("apps", "Deployment", "shop", "web"), Key("", "Service", "shop", "api")
ROLE = Key("rbac.authorization.k8s.io", "ClusterRole", "", "system:web")
FAR = Key("", "ConfigMap", "elsewhere", "conf")


def changed(resource: Resource, **metadata: Any) -> Resource:
    return Resource.of({**resource.manifest, "metadata": {**resource.manifest["metadata"], **metadata}})


def test_the_id_of_a_set_is_that_of_the_proposal() -> None:
    expected = "applyset-f9Rk5tKHoB72oV1tU2iFKxDwL8MBZTjMHFQ8V9WNNlA-v1"
    assert applyset_id("test-foo", "test-ns", "Foo", "foo.bar") == expected


def test_a_parent_says_what_kubectl_needs_to_find_the_members() -> None:
    found = parent("web", "shop", [WEB, API, ROLE, FAR])
    assert found.key == Key("", "ConfigMap", "shop", "updater-web")
    assert found.labels == {"applyset.kubernetes.io/id": applyset_id("updater-web", "shop")}
    assert found.annotations == {
        "applyset.kubernetes.io/tooling": "updater/v1",
        "applyset.kubernetes.io/contains-group-kinds": (
            "ClusterRole.rbac.authorization.k8s.io,ConfigMap,Deployment.apps,Service"
        ),
        "applyset.kubernetes.io/additional-namespaces": "elsewhere",
        "updater.dev/application": "web",
    }


NAMES = st.text("abz.-:", min_size=1, max_size=6)
KEYS = st.builds(
    Key, st.sampled_from(["", "apps", "example.com"]), st.sampled_from(["A", "B"]), st.just("") | NAMES, NAMES
)


@given(keys=st.sets(KEYS))
def test_what_a_parent_lists_is_read_back(keys: set[Key]) -> None:
    assert members_of(parent("web", "shop", keys)) == keys


@given(keys=st.sets(KEYS))
def test_a_parent_is_the_same_whatever_the_order(keys: set[Key]) -> None:
    in_order = sorted(keys)
    assert parent("web", "shop", in_order).manifest == parent("web", "shop", reversed(in_order)).manifest


@pytest.mark.parametrize(
    ("live", "said"),
    [
        pytest.param(
            changed(parent("web", "shop", []), annotations={"applyset.kubernetes.io/tooling": "kubectl/v1.30"}),
            "belongs to kubectl/v1.30, expected updater/v1",
            id="another tool's",
        ),
        pytest.param(changed(parent("web", "shop", []), annotations={}), "belongs to no tool", id="no tool's"),
        pytest.param(changed(parent("web", "shop", []), labels={}), "has the id None", id="no set's"),
        pytest.param(changed(parent("web", "shop", []), name="copy"), "expected applyset-", id="a copy's"),
        pytest.param(
            Resource.of({**parent("web", "shop", []).manifest, "data": {"inventory": "apps/Deployment/web\n"}}),
            "found 'apps/Deployment/web' in its inventory",
            id="broken",
        ),
    ],
)
def test_a_parent_is_refused_when_it_is(live: Resource, said: str) -> None:
    with pytest.raises(ValueError, match=r"ConfigMap shop/") as caught:
        members_of(live)
    assert said in str(caught.value)


def test_a_parent_of_a_later_version_is_read() -> None:
    live = parent("web", "shop", [WEB])
    later = changed(live, annotations={**live.annotations, "applyset.kubernetes.io/tooling": "updater/v2"})
    assert members_of(later) == {WEB}


def test_the_inventory_grows_before_and_shrinks_after() -> None:
    assert growing([WEB, API], [API, ROLE]) == {WEB, API, ROLE}
    assert shrunk([API, ROLE], [WEB]) == {WEB, API, ROLE}
    assert shrunk([API, ROLE], []) == {API, ROLE}


def test_a_member_is_marked_and_otherwise_unchanged() -> None:
    before = made("Deployment", "web", labels={"app": "web"}, sync_wave="1")
    after = member(before, "web", identity("web", "shop"))
    assert after.labels == {"app": "web", "applyset.kubernetes.io/part-of": identity("web", "shop")}
    assert after.annotations["updater.dev/tracking-id"] == "web:apps/Deployment:shop/web"
    assert after.annotations["argocd.argoproj.io/sync-wave"] == "1"
    assert before.labels == {"app": "web"}
    assert set_of(after) == identity("web", "shop")
    assert not copied(after)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(tracking("web", WEB), False, id="put on this object"),
        pytest.param(tracking("other", WEB), False, id="put on this object by another application"),
        pytest.param(tracking("web", API), True, id="put on another object"),
        pytest.param("nonsense", True, id="something else"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_a_copy_tells_itself_by_the_annotation(said: str, expected: bool) -> None:
    live = made("Deployment", "web", metadata={"annotations": {"updater.dev/tracking-id": said}})
    assert copied(live) is expected


def test_an_object_with_owners_is_no_member() -> None:
    with pytest.raises(ValueError, match="found ownerReferences, expected none"):
        member(made("Deployment", "web", metadata={"ownerReferences": [{"kind": "X", "name": "x"}]}), "web", "id")
