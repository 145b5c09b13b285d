"""What annotations and options say: waves, hooks, and how an object is synced."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from updater.model.resource import Resource
from updater.model.sync import Phase, Stage
from updater.sync.options import Conflicts, Options, extraneous_is_fine, hook, options, wave

ARGO, HELM = "argocd.argoproj.io", "helm.sh"
ENDED_BADLY = frozenset({Phase.FAILED, Phase.ERROR})


def made(annotations: dict[str, Any]) -> Resource:
    metadata = {"name": "web", "namespace": "shop", "annotations": annotations}
    return Resource.of({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        pytest.param({}, 0, id="none"),
        pytest.param({f"{ARGO}/sync-wave": "-5"}, -5, id="a wave"),
        pytest.param({f"{ARGO}/sync-wave": "+2"}, 2, id="a sign"),
        pytest.param({f"{HELM}/hook-weight": "3"}, 3, id="a weight of Helm"),
        pytest.param({f"{HELM}/hook-weight": "3", f"{ARGO}/sync-wave": "1"}, 1, id="the wave beats the weight"),
    ],
)
def test_the_wave_of_an_object(annotations: dict[str, str], expected: int) -> None:
    assert wave(made(annotations)) == expected


@pytest.mark.parametrize(
    "text", ["", "one", "1.5", "1_0", " 1", "9" * 5_000, "\u0661", 3], ids=lambda text: str(text)[:9]
)
def test_a_wave_that_is_no_number_is_refused_by_name(text: Any) -> None:
    with pytest.raises(ValueError, match=r"Job.batch shop/web: found .* in argocd.argoproj.io/sync-wave, expected"):
        wave(made({f"{ARGO}/sync-wave": text}))


PRE, SYNC, POST, FAIL = Stage
HOOKS: dict[str, tuple[dict[str, str], tuple[Stage, ...]]] = {
    "one stage": ({f"{ARGO}/hook": "PreSync"}, (PRE,)),
    "several, in the order of the stages": ({f"{ARGO}/hook": "PostSync, PreSync"}, (PRE, POST)),
    "after a failure": ({f"{ARGO}/hook": "SyncFail"}, (FAIL,)),
    "skipped": ({f"{ARGO}/hook": "Skip"}, ()),
    "of a deletion": ({f"{ARGO}/hook": "PostDelete"}, ()),
    "of a deletion and of a sync": ({f"{ARGO}/hook": "PreDelete,Sync"}, (SYNC,)),
    "Helm before": ({f"{HELM}/hook": "pre-install,pre-upgrade"}, (PRE,)),
    "Helm after": ({f"{HELM}/hook": "post-upgrade"}, (POST,)),
    "a test of Helm": ({f"{HELM}/hook": "test-success"}, ()),
    "a rollback of Helm": ({f"{HELM}/hook": "pre-rollback"}, ()),
    "Argo CD beats Helm": ({f"{HELM}/hook": "pre-install", f"{ARGO}/hook": "Sync"}, (SYNC,)),
}


@pytest.mark.parametrize(("annotations", "stages"), HOOKS.values(), ids=HOOKS)
def test_the_stages_of_a_hook(annotations: dict[str, str], stages: tuple[Stage, ...]) -> None:
    found = hook(made(annotations))
    assert found is not None
    assert found.stages == stages


@pytest.mark.parametrize("annotations", [{}, {f"{HELM}/hook": "crd-install"}], ids=["no annotation", "Helm's CRDs"])
def test_an_ordinary_object_is_no_hook(annotations: dict[str, str]) -> None:
    assert hook(made(annotations)) is None


@pytest.mark.parametrize(
    ("annotations", "before", "after"),
    [
        pytest.param({}, True, frozenset(), id="unless said, before the next one"),
        pytest.param({f"{ARGO}/hook-delete-policy": "HookSucceeded"}, False, {Phase.SUCCEEDED}, id="once it succeeded"),
        pytest.param({f"{ARGO}/hook-delete-policy": "HookFailed"}, False, ENDED_BADLY, id="once it failed"),
        pytest.param(
            {f"{ARGO}/hook-delete-policy": "BeforeHookCreation,HookSucceeded"},
            True,
            {Phase.SUCCEEDED},
            id="two of them",
        ),
        pytest.param(
            {f"{HELM}/hook-delete-policy": "hook-succeeded,hook-failed"}, False, {*Phase} - {Phase.RUNNING}, id="Helm's"
        ),
    ],
)
def test_when_a_hook_is_removed(annotations: dict[str, str], before: bool, after: frozenset[Phase]) -> None:
    found = hook(made({f"{ARGO}/hook": "Sync", **annotations}))
    assert found is not None
    assert (found.delete_before, found.delete_after) == (before, after)


@pytest.mark.parametrize(
    ("annotations", "named"),
    [
        pytest.param({f"{ARGO}/hook": "PreSynk"}, "PreSynk", id="a stage of Argo CD"),
        pytest.param({f"{ARGO}/hook": ""}, "nothing", id="no stage at all"),
        pytest.param({f"{HELM}/hook": "before"}, "before", id="a stage of Helm"),
        pytest.param({f"{ARGO}/hook": "Sync", f"{ARGO}/hook-delete-policy": "Never"}, "Never", id="a policy"),
    ],
)
def test_a_word_about_hooks_that_nobody_knows_is_named(annotations: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=rf"Job.batch shop/web: found .*{named}"):
        hook(made(annotations))


APPLICATION: dict[str, tuple[str, dict[str, Any]]] = {
    "Prune=false": ("Prune=false", {"prune": "false"}),
    "Prune=confirm": ("Prune=confirm", {"prune": "confirm"}),
    "Delete=false": ("Delete=false", {"delete": "false"}),
    "Replace=true": ("Replace=true", {"replace": True}),
    "Force=true": ("Force=true", {"force": True}),
    "Validate=false": ("Validate=false", {"validate": False}),
    "SkipDryRun": ("SkipDryRunOnMissingResource=true", {"skip_missing_kind": True}),
    "PruneLast": ("PruneLast=true", {"prune_last": True}),
    "RespectIgnoreDifferences": ("RespectIgnoreDifferences=true", {"respect_ignored": True}),
    "CreateNamespace": ("CreateNamespace=true", {"create_namespace": True}),
    "ApplyOutOfSyncOnly": ("ApplyOutOfSyncOnly=true", {"out_of_sync_only": True}),
    "sharing is refused unless switched off": ("FailOnSharedResource=false", {"fail_on_shared": False}),
    "PrunePropagationPolicy": ("PrunePropagationPolicy=orphan", {"propagation": "orphan"}),
    "ServerSideApply is what is done anyway": ("ServerSideApply=true", {}),
}


@pytest.mark.parametrize(("word", "expected"), APPLICATION.values(), ids=APPLICATION)
def test_an_option(word: str, expected: dict[str, Any]) -> None:
    for found in (options(made({}), {word}), options(made({f"{ARGO}/sync-options": f" {word} ,"}))):
        assert found == Options(**expected)


def test_every_option_of_an_object_has_a_case() -> None:
    covered = {name for _, expected in APPLICATION.values() for name in expected}
    assert covered | {"conflicts", "take_over"} == {field.name for field in fields(Options)}


def test_an_object_beats_its_application() -> None:
    found = options(made({f"{ARGO}/sync-options": "Prune=true"}), {"Prune=false", "Replace=true"})
    assert found == Options(prune="true", replace=True)


def test_what_helm_keeps_is_not_removed_unless_the_object_says_so() -> None:
    keep = {f"{HELM}/resource-policy": "keep"}
    assert options(made(keep), {"Prune=true"}) == Options(prune="false", delete="false")
    assert options(made({**keep, f"{ARGO}/sync-options": "Prune=true"})).prune == "true"


def test_conflicts_and_take_over_are_annotations_of_our_own() -> None:
    assert options(made({"updater.dev/conflicts": "yield"})).conflicts is Conflicts.YIELD
    assert options(made({"updater.dev/take-over": "true"})).take_over is True


@pytest.mark.parametrize(
    ("annotations", "words", "named"),
    [
        pytest.param({}, {"Prone=false"}, "unknown sync option 'Prone=false'", id="a name"),
        pytest.param({}, {"Prune"}, "found sync option 'Prune', expected Prune=true|false|confirm", id="no value"),
        pytest.param({}, {"Prune=no"}, "found sync option 'Prune=no'", id="a value"),
        pytest.param({}, {"ServerSideApply=false"}, "expected ServerSideApply=true", id="applying at the client"),
        pytest.param(
            {f"{ARGO}/sync-options": "prune=false"}, (), "unknown sync option 'prune=false'", id="small letters"
        ),
        pytest.param({"updater.dev/conflicts": "ask"}, (), "found 'ask' in updater.dev/conflicts", id="a policy"),
        pytest.param({f"{ARGO}/sync-options": ["Prune=false"]}, (), "expected a text", id="a list"),
    ],
)
def test_a_word_that_nobody_knows_is_named(annotations: dict[str, Any], words: set[str], named: str) -> None:
    with pytest.raises(ValueError, match=r"Job\.batch shop/web: ") as caught:
        options(made(annotations), words)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("", False),
        ("IgnoreExtraneous", True),
        ("ServerSideDiff=true, IgnoreExtraneous", True),
        ("ServerSideDiff=true", False),
    ],
)
def test_whether_an_extra_object_counts(text: str, fine: bool) -> None:
    assert extraneous_is_fine(made({f"{ARGO}/compare-options": text})) is fine
