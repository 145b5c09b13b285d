"""Manifests are read as kubectl reads them; what is hostile is refused with its line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from updater.errors import ManifestError
from updater.model.stream import MAX_DEPTH
from updater.sync.dialect import load, load_all

HEAD = "apiVersion: v1\nkind: Foo\nmetadata: {name: a}\n"
_SPELLED = """
on yes y Y n N no off On TRUE true ~ null nUll tRue yES Null 0644 0o17 0O17 0b11 -0b11 0x1F -0x1f 1_000 1__0 _1 1_
1e3 1E3 1e+3 1e-3 1.0 1. .5 +.5 -.5 . +1 -1 089 0_8 08.5 1:30 1:30:30 2020-01-01 2020-01-01T00:00:00Z = <<
12345678901234567890 18446744073709551616 9223372036854775807 9223372036854775808 -9223372036854775808
-9223372036854775809 0xFFFFFFFFFFFFFFFF 0x1FFFFFFFFFFFFFFFF 07777777777777777777777777 123456789012345678
1e21 1e20 1.5e300 1e400 -0 -0.0 0.1 1.5_0 0x1p4 .e5 ._5 .1_0 .5_ .1_0e1_0 .5__0 -.1_0 -._1 123456789.123456789
1e 1e5.5 0xg 0b12 0o8 0o 0x 00 0777 -0777 +0o17 -0o17 1.2.3 v1 3.10 1e03 1.0E+2 .5e1 5e 0.0000001
1e18 1e19 0b 0B11 0X1f 0_644 0o1_7 -_1 +_1 1,000 0e0 00.5 -089 0x_1 '1' '' 'yes'
"""
SCALARS = _SPELLED.split()
DOCUMENTS = {
    "scalars": "".join(f"- {scalar}\n" for scalar in SCALARS),
    "a very long number": f"- {'1' * 5000}\n- {'7' * 300}\n",
    "keys": "n: 1\n2: a\n1.5: b\n0x10: c\ntrue: d\n2020-01-01: e\n1e3: f\n1e30: g\n0.1: h\n1e-7: i\n0644: j\n'': k\n",
    "merge before": "a: &x {p: 1}\nb: {<<: *x, p: 2}\n",
    "merge after": "a: &x {p: 1}\nb: {p: 2, <<: *x}\n",
    "merge a list": "a: &x {p: 1}\nc: &z {p: 3, q: 4}\nb: {<<: [*x, *z]}\n",
    "merge twice": "a: &x {p: 1}\nc: &z {p: 3, q: 4}\nb:\n  <<: *x\n  <<: *z\n",
    "merge what is written in place": "b: {<<: {p: 1}, q: 2}\n",
    "merge is not deep": "a: &x {p: {z: 1, k: 2}}\nb: {<<: *x, p: {w: 1}}\nc: {p: {w: 1}, <<: *x}\n",
    "a quoted merge key": "a: &x {p: 1}\nb: {'<<': *x}\n",
    "anchors": "a: &x 1\nb: &x 2\nc: *x\nd: {*x : 3}\n",
    "tags": (
        "a: !!str 1\nb: ! 1\nc: !!str true\nd: !!int '5'\ne: !!float 1\nf: !!float '1.5'\ng: !!bool 'yes'\n"
        "h: !!null ''\ni: !foo 1\nj: !!binary aGVsbG8=\nk: !<tag:yaml.org,2002:str> 5\nl: !!timestamp 2020-01-01\n"
        "m: !foo {a: 1}\no: !!set {a: }\np: !!seq [a]\nq: !!map {a: 1}\nr: !!str\ns: !!str ~\nt: !foo\nu: !foo yes\n"
        "v: !!int '0644'\nw: !!binary /w==\n"
    ),
    "blocks and quotes": "a: |\n  yes\nb: >-\n  1\nc: 'yes'\nd: \"1\\n\\u00fc\"\ne:\n",
}
FILES = {
    "JSON": '{"apiVersion":"v1","kind":"Foo","metadata":{"name":"a"},"x":1.0,"y":1e3,"z":"\\ud83d\\ude00","w":"\\/"}',
    "two objects of JSON": (
        '{"apiVersion":"v1","kind":"Foo","metadata":{"name":"a"}}\n'
        '{"apiVersion":"v1","kind":"Foo","metadata":{"name":"b"}}'
    ),
    "JSON with tabs": '{\n\t"apiVersion":"v1",\n\t"kind":"Foo",\n\t"metadata":{"name":"a"}}',
    "YAML that begins like JSON": "{apiVersion: v1,kind: Foo,metadata: {name: a}}",
    "a list of one kind": "apiVersion: v1\nkind: FooList\nitems: [{apiVersion: v1, kind: Foo, metadata: {name: a}}]\n",
    "empty documents": f"---\n---\n# c\n---\nnull\n---\n{HEAD}",
    "two documents": f"{HEAD}---\n{HEAD}b: yes\n",
}
REFUSED = {
    "a key twice": ("a: 1\nb: 2\na: 3\n", 6, "the key 'a' stands in line 4 already"),
    "a key twice in two spellings": ("n: 1\nno: 2\n", 5, "the key 'false' stands in line 4 already"),
    "a key twice, in JSON": ('{"a": 1,\n"a": 2}', 2, "the key 'a' stands in line 1 already"),
    "no key": ("~: 1\n", 4, "found a key that is no text"),
    "a list as a key": ("[a]: 1\n", 4, "found a key that is no text"),
    "a mapping as a key": ("? {a: 1}\n: 1\n", 4, "found a key that is no text"),
    "a merge of a scalar": ("b:\n  <<: 1\n", 5, "found something else than mappings to merge"),
    "a merge of nothing": ("b: {<<: }\n", 4, "found something else than mappings to merge"),
    "a merge of a list of scalars": ("b: {<<: [1]}\n", 4, "found something else than mappings to merge"),
    "no number": ("a: .nan\n", 4, "found a number that is infinite or none"),
    "an infinite number": ("a: -.Inf\n", 4, "found a number that is infinite or none"),
    "a tag that does not fit": ("a: !!int s3cret\n", 4, "found a value that is none, expected what its tag !!int says"),
    "a fraction as an integer": ("a: !!int 1.5\n", 4, "found a value that is none"),
    "no base64": ("a: !!binary '*'\n", 4, "found a value that is not base64"),
    "an alias without an anchor": ("a: *b\n", 4, "found an alias without its anchor"),
    "an alias within itself": ("a: &a [*a]\n", 4, "found an alias within what it stands for"),
    "broken YAML": ("a: [\nb: }\n", 5, "broken YAML at line 5"),
    "half a character": ('a: "\\ud83d"\n', 4, "broken YAML at line 4"),
    "half a character in JSON": ('{"a":\n"\\ud83d"}', 2, "broken YAML at line 2"),
}


def by_kubectl(text: str) -> list[Any]:
    """What kubectl makes of a file, without the annotation that makes it print it."""
    tool = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert tool, "kubectl is among the tools of the tests"
    argv = [tool, "annotate", "--local", "-f", "-", "-o", "json", "x=y"]
    done = subprocess.run(
        argv, input=text, env={"HOME": "/nonexistent"}, check=True, capture_output=True, text=True, timeout=60
    )
    found, at = [], 0
    while at < len(done.stdout.rstrip()):
        value, at = json.JSONDecoder().raw_decode(done.stdout, at)
        at += len(done.stdout[at:]) - len(done.stdout[at:].lstrip())
        del value["metadata"]["annotations"]
        found.append(value)
    return found


def same(ours: Any, theirs: Any) -> bool:
    """Equality that tells 1 from true and from 1.0."""
    return repr(_sorted(ours)) == repr(_sorted(theirs))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, float) and value.is_integer() and value < 1e21:
        return int(value)  # JSON prints them alike
    return [_sorted(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", DOCUMENTS)
def test_values_are_those_that_kubectl_reads(case: str) -> None:
    text = HEAD + "spec:\n" + "".join(f"  {line}\n" for line in DOCUMENTS[case].splitlines())
    ours, theirs = load_all(text, "x.yaml"), by_kubectl(text)
    if case == "scalars":
        for scalar, left, right in zip(SCALARS, ours[0]["spec"], theirs[0]["spec"], strict=True):
            assert same(left, right) or left == pytest.approx(right, rel=1e-15), scalar
    else:
        assert same(list(ours), theirs)


@pytest.mark.parametrize("case", FILES)
def test_files_are_split_as_kubectl_splits_them(case: str) -> None:
    assert same(load_all(FILES[case], "x.yaml"), by_kubectl(FILES[case]))


def test_lists_are_taken_apart_also_within_lists() -> None:
    inner = "- {apiVersion: v1, kind: List, items: [{kind: Foo, metadata: {name: b}}]}"
    text = f"---\napiVersion: v1\nkind: List\nitems:\n- {{kind: Foo, metadata: {{name: a}}}}\n{inner}\n"
    assert [(one.line, one.manifest["metadata"]["name"]) for one in load(text, "x.yaml")] == [(2, "a"), (2, "b")]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("kind: AllowList\nspec: {items: [1]}\n", id="a kind that only sounds like one"),
        pytest.param("kind: AllowList\nitems: {a: 1}\n", id="items that are a mapping"),
    ],
)
def test_what_is_no_list_stays_whole(text: str) -> None:
    assert [one["kind"] for one in load_all(text, "x.yaml")] == ["AllowList"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("", 0, id="an empty file"),
        pytest.param("\ufeff# only a comment\n", 0, id="a comment behind a byte order mark"),
        pytest.param("{}\n---\n", 0, id="an empty mapping"),
        pytest.param("kind: List\nitems: []\n", 0, id="an empty list"),
        pytest.param("kind: List\nitems:\n", 0, id="a list of nothing"),
        pytest.param("\ufeffkind: Foo\n", 1, id="a byte order mark"),
        pytest.param("kind: Foo\r\n---\r\nkind: Bar\r\n", 2, id="line ends of Windows"),
    ],
)
def test_what_is_empty_is_skipped(text: str, count: int) -> None:
    assert len(load_all(text, "x.yaml")) == count


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_with_its_line_and_without_its_value(case: str) -> None:
    text, line, why = REFUSED[case]
    with pytest.raises(ManifestError) as refused:
        load_all(text if text.startswith("{") else HEAD + text, "apps/x.yaml")
    assert str(refused.value).startswith(f"apps/x.yaml:{line}: {why}")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("- a\n- b\n", 1, id="a list"),
        pytest.param(f"{HEAD}---\nhello\n", 5, id="a text behind a manifest"),
        pytest.param(f"{HEAD}---\nkind: List\nitems: [1]\n", 5, id="a number in a list"),
        pytest.param("kind: List\nitems: {a: 1}\n", 1, id="items that are a mapping"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ManifestError, match=rf"^x\.yaml:{line}: "):
        load_all(text, "x.yaml")


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
HOSTILE = {
    "an alias bomb": (BOMB, "its aliases stand for more than"),
    "a bomb of merges": (
        BOMB.replace("[x,x,x,x,x,x,x,x,x]", "{k: x}").replace("a1: &a1 [", "a1: &a1 [{<<: *a0},"),
        "alias",
    ),
    "a long text a thousand times": (f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 1000)}]\n", "its aliases"),
    "deep lists": ("[" * 50_000, "nested too deep"),
    "deep mappings": ("{a: " * 50_000, "nested too deep"),
    "deep JSON": ('{"a":' * 50_000 + "1" + "}" * 50_000, "nested too deep"),
    "JSON one level too deep": ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "nested too deep"),
    "many nodes": ("a: [" + "1," * 1_000_001 + "]", "more than"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_hostile_is_refused_in_time(case: str) -> None:
    text, why = HOSTILE[case]
    began = time.monotonic()
    with pytest.raises(ManifestError, match=why):
        load_all(text, "x.yaml")
    assert time.monotonic() - began < 20


def test_json_nests_as_deep_as_yaml() -> None:
    text = '{"a":' * (MAX_DEPTH - 1) + "{}" + "}" * (MAX_DEPTH - 1)
    assert len(load_all(text, "x.yaml")) == 1
    assert load_all(text, "x.yaml") == load_all(f"--- {text}", "x.yaml")


_SYNTAX = "a|b: |- |? |: |{|}|[|]|,|&a |*a |<<: |!!int |!!binary |!x |'|\"|>-\n|\n|  |\t|#|---\n|...\n|%TAG ! x\n"
_SAID = "kind: List\n|items: |1e3|0o7|.inf|~|\ufeff|\x00|\x85|\u2028|\U0001f600|\ud800"
PIECES = st.sampled_from([*_SYNTAX.split("|"), *_SAID.split("|")])
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text()
VALUES = st.recursive(
    LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
@settings(deadline=None)  # a loaded machine is no failure
def test_whatever_it_is_there_are_manifests_or_a_reason(text: str) -> None:
    found, why = [], ""
    try:
        found = load_all(text, "x.yaml")
    except ManifestError as error:
        why = str(error)
    assert not why or why.startswith("x.yaml:")
    assert json.loads(json.dumps(found)) == found


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4).filter(lambda value: value.get("kind") is None))
@settings(deadline=None)  # a loaded machine is no failure
def test_json_is_read_alike_as_json_and_as_yaml(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    read = load_all(text, "x.json")
    assert same(read[0], json.loads(text, parse_int=_go, parse_float=_go))
    if "\\ud" not in text:  # a pair of halves is a character in JSON, and an error in YAML
        assert same(read[0], load_all(f"---\n{text}", "x.yaml")[0])


def _go(text: str) -> int | float:
    number = float(text)
    exact = int(text) if text.lstrip("-").isdigit() else int(number) if number.is_integer() else None
    return exact if exact is not None and -(2**63) <= exact < 2**63 else number
