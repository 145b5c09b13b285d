"""Which changes belong together, and what the branches are called that hold them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.config.images import Item
from updater.config.repositories import RepositorySettings
from updater.config.write_back import BranchBack, CommitSettings, PullRequestBack, Push, branch_name
from updater.model.image import ImageRef
from updater.pipeline.group import OTHERS, Way, way_of

FILE = "apps/api/deployment.yaml"


def item(**more: object) -> Item:
    fields = {"name": "api/prod", "image_name": "api", "image": "ghcr.io/acme/api"} | more
    return Item(exact=ImageRef.parse("ghcr.io/acme/api"), **fields)  # type: ignore[arg-type]


def repository(group_by: str = "cycle", **more: object) -> RepositorySettings:
    commit = CommitSettings(group_by=group_by)
    return RepositorySettings(name="fleet", url="https://git.example.com/fleet.git", commit=commit, **more)


@pytest.mark.parametrize(
    ("by", "labels", "group"),
    [
        ("cycle", {}, "main"),
        ("image", {}, "api"),
        ("path", {}, "apps/api"),
        ("team", {"team": "red"}, "red"),
        ("team", {}, OTHERS),
    ],
)
def test_a_change_belongs_to_one_group(by: str, labels: dict[str, str], group: str) -> None:
    assert way_of(item(labels=labels), repository(by), "main", FILE) == Way(group, Push())


@pytest.mark.parametrize(
    ("by", "template", "branch"),
    [
        ("cycle", "updater/{{ group }}", "updater/main"),
        ("path", "updater/{{ group }}", "updater/apps-api"),
        ("image", "{{ repository }}/{{ branch }}/{{ group }}", "fleet/main/api"),
    ],
)
def test_a_group_has_a_branch(by: str, template: str, branch: str) -> None:
    back = BranchBack(branch=template)
    assert way_of(item(), repository(by, write_back=back), "main", FILE).branch == branch


def test_an_item_goes_its_own_way() -> None:
    back = PullRequestBack()
    assert way_of(item(write_back=back), repository(), "main", FILE) == Way("main", back, "updater/main")
    assert way_of(item(write_back=Push()), repository(write_back=back), "main", FILE).branch == ""


def test_two_targets_never_share_a_branch() -> None:
    fleet = repository("image", write_back=BranchBack())
    names = {way_of(item(branch=at), fleet, at or "main", FILE).branch for at in (None, "release", "edge")}
    assert names == {"updater/api", "updater/api-release", "updater/api-edge"}


def test_a_group_of_its_own_is_no_other() -> None:
    fleet = repository(write_back=BranchBack())
    assert way_of(item(), fleet, "main", FILE, "rollback-api").branch == "updater/rollback-api"


def test_the_target_itself_is_no_branch_of_ours() -> None:
    with pytest.raises(ValueError, match="the very branch"):
        way_of(item(), repository(write_back=BranchBack(branch="{{ branch }}")), "main", FILE)


@given(st.text(min_size=1, max_size=150))
def test_every_label_makes_the_name_of_a_branch(label: str) -> None:
    way = way_of(item(labels={"team": label}), repository("team", write_back=BranchBack()), "main", FILE)
    assert branch_name(way.branch) == way.branch
