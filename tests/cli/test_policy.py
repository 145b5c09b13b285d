"""`updater policy`: a policy tried on a list of tags, without a configuration or a registry."""

import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from updater.cli.main import app

TAGS = "1.0.0\n1.1.0\n\n  1.2.0-rc.1\n2.0.0\nlatest\nsha256-" + "0" * 64 + ".sig\n"


def policy(*args: str, tags: str = TAGS) -> tuple[int, dict[str, object], str]:
    ran = CliRunner().invoke(app, ["policy", *args, "--json"], input=tags)
    return ran.exit_code, json.loads(ran.stdout) if ran.stdout else {}, ran.stderr


@pytest.mark.parametrize(
    ("args", "outcome", "target", "reason"),
    [
        (["{kind: semver, range: 1.x}", "--current", "1.0.0"], "update", "1.1.0", None),
        (["{kind: semver, range: 1.x}", "--current", "1.1.0"], "hold", None, "up_to_date"),
        (["{kind: semver, range: 1.x}"], "update", "1.1.0", None),
        (["{kind: semver, range: 3.x}"], "hold", None, "no_match"),
        (["{kind: semver}", "--current", "latest"], "hold", None, "unparsable_current"),
        (["{kind: semver}", "--current", "1.0.0"], "update", "1.1.0", None),
        (["{policy: {kind: semver}, level: major}", "--current", "1.0.0"], "update", "2.0.0", None),
        (["{policy: {kind: semver}, level: patch}", "--current", "1.0.0"], "hold", None, "level"),
        (["{policy: {kind: semver}, tags: {exclude: ['^2']}}"], "update", "1.1.0", None),
        (["{tags: {include: ['^1.1']}}", "--current", "1.0.0"], "update", "1.1.0", None),
    ],
    ids=["newer", "nothing newer", "no current: the best", "outside the range", "no version in Git",
         "a new major needs to be allowed", "allowed", "a patch at the most", "excluded", "docker is the default"],
)  # fmt: skip
def test_decision(args: Sequence[str], outcome: str, target: str | None, reason: str | None) -> None:
    code, document, _ = policy(*args)
    assert code == 0
    assert (document["outcome"], document["target"]) == (outcome, target)
    assert reason is None or document["reason"] == reason
    assert document["reason"]


def test_every_tag_has_its_verdict_and_why() -> None:
    _, document, _ = policy("{kind: semver, range: 1.x}", "--current", "1.0.0")
    verdicts = {row["tag"]: row["verdict"] for row in document["tags"]}  # type: ignore[attr-defined]
    assert verdicts["1.1.0"] == "chosen"
    assert set(verdicts) == {"1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0", "latest", "sha256-" + "0" * 64 + ".sig"}
    assert {verdicts[tag] for tag in ("2.0.0", "latest", "1.2.0-rc.1")} == {"rejected"}
    assert all(row["why"] for row in document["tags"])  # type: ignore[attr-defined]


def test_an_empty_list_is_an_answer() -> None:
    code, document, _ = policy("{kind: semver}", tags="\n \n")
    assert (code, document["outcome"], document["target"], document["tags"]) == (0, "hold", None, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: semver, range: '>> 1'}", "POLICY:1:23"),
        ("{kind: semver, rnage: 1.x}", "rnage"),
        ("{kind: sember}", "sember"),
        ("{kind: calver, format: YYYYMM}", "ambiguous"),
        ("{policy: {kind: semver}, tags: {include: ['(']}}", "POLICY:1:"),
        ("{policy: {kind: semver}, nonsense: 1}", "nonsense"),
        ("{kind: [", "POLICY:1:"),
        ("text", "a mapping"),
    ],
    ids=["a bad range", "an unknown key", "an unknown kind", "a bad format", "a bad expression", "a strange field",
         "broken YAML", "no mapping"],
)  # fmt: skip
def test_what_does_not_parse_is_wrong_usage(text: str, said: str) -> None:
    code, document, err = policy(text)
    assert (code, list(document)) == (2, ["failures"])
    assert said in err


def test_tags_come_from_a_file(tmp_path: pytest.TempPathFactory) -> None:
    file = tmp_path / "tags"  # type: ignore[operator]
    file.write_text(TAGS)
    code, document, _ = policy("{kind: semver}", "--tags-file", str(file), tags="")
    assert (code, document["target"]) == (0, "2.0.0")
    assert policy("{kind: semver}", "--tags-file", str(file) + "x")[0] == 2
