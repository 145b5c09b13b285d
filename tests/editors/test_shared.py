"""Properties of what is shared, of first tags that are added, and of block scalars of one line."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from updater.editors.base import references
from updater.editors.document import parse
from updater.editors.sharing import MAX_USERS
from updater.errors import EditError
from updater.model.change import Change, Edit
from updater.pipeline import edit as editing
from updater.pipeline.edit import Wanted, apart, edit

OLD, NEW = "ghcr.io/acme/api:1.4.2", "ghcr.io/acme/api:1.10"
USES = ["a: {image: *x}", "b: {sidecarImage: *x}", "c:\n  - image: *x", "d: {image: ghcr.io/acme/api:1.4.2}"]
STRANGERS = ["e: {note: *x}", "f: [*x]", "g: {image: {name: *x}}", "*x : h", "i: {image: *x, image: y}"]
ENDS = st.sampled_from(["\n", "\r\n"])


def _changed(text: str, tag: str = "1.10", path: str = "values.yaml") -> Change:
    """Everything at this tag that can be, as the pipeline does it."""
    wanted = [Wanted(r, r.image.at(tag), "") for r in references(parse(path, text)) if not r.unwritable]
    left = apart(wanted)
    return edit(path, text, [one for index, one in enumerate(wanted) if index not in left])


def _loaded(text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader)  # PyYAML's own reader takes no tab before a comment


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {_replaced(key, old, new): _replaced(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, old, new) for one in value]
    return new if value == old else value


@settings(deadline=None)  # a loaded machine is no failure
@given(
    anchor=st.sampled_from(["image", "x-image", "x-other"]),
    uses=st.lists(st.sampled_from(USES), unique=True),
    strangers=st.lists(st.sampled_from(STRANGERS), unique=True, max_size=2),
    end=ENDS,
    rest=st.randoms(use_true_random=False),
)
def test_a_shared_scalar_changes_for_all_who_read_it_or_for_none(
    anchor: str, uses: list[str], strangers: list[str], end: str, rest: Any
) -> None:
    lines = uses + strangers
    rest.shuffle(lines)
    text = end.join([f"{anchor}: &x {OLD}", *lines, ""]).replace("\n", end).replace("\r\r", "\r")
    after = _changed(text).after
    shared = any("*x" in line for line in lines)
    meant = not strangers and (anchor != "x-other" or any("*x" in line for line in uses))
    if not shared:
        meant = anchor != "x-other"
    head = after.split(end)[0]
    assert head == f"{anchor}: &x {NEW if meant else OLD}"
    before, then = yaml.load(text, yaml.CBaseLoader), yaml.load(after, yaml.CBaseLoader)
    own = {**before, "d": _replaced(before["d"], OLD, NEW)} if "d" in before else before
    assert then == (_replaced(before, OLD, NEW) if meant else own)


@settings(deadline=None)  # a loaded machine is no failure
@given(
    indent=st.integers(0, 4),
    gap=st.integers(1, 4),
    quote=st.sampled_from(["", "'", '"']),
    key=st.sampled_from(["name: {}", "'name' : {}", "name: api{}newName: {}", "newName: {}{}name: api", "name: &n {}"]),
    tail=st.sampled_from(["", "  ", "  # a comment: {}", "\t# x"]),
    more=st.sampled_from(["", "resources: []", "  # below", "x: |\n  - name: y"]),
    end=ENDS,
    final=st.booleans(),
)
def test_a_first_tag_is_one_line_more_and_nothing_else(
    *, indent: int, gap: int, quote: str, key: str, tail: str, more: str, end: str, final: bool
) -> None:
    pad = " " * (indent + 1 + gap)
    name = f"{quote}ghcr.io/acme/api{quote}"
    entry = key.replace("{}newName", f"\n{pad}newName").replace("{}{}name", f"{{}}\n{pad}name").replace("{}", name)
    body = f"images:\n{' ' * indent}-{' ' * gap}{entry}{tail}\n{more}{chr(10) if more and final else ''}"
    text = (body if final or more else body[:-1]).replace("\n", end)
    change = _changed(text, "1.10", "kustomization.yaml")
    added = f'{pad}newTag: "1.10"'
    lines = change.after.split(end)
    assert lines.count(added) == 1
    lines.remove(added)
    assert end.join(lines) == text
    loaded = _loaded(change.after)
    (one,) = loaded["images"]
    assert one.pop("newTag") == "1.10"
    assert loaded == _loaded(text)


@settings(deadline=None)  # a loaded machine is no failure
@given(
    style=st.sampled_from(["|", ">"]),
    chomp=st.sampled_from(["", "-", "+"]),
    indent=st.integers(1, 6),
    comment=st.sampled_from(["", " # why", "\t#"]),
    blank=st.integers(0, 2),
    more=st.sampled_from(["", "b: 1\n", "# end\n"]),
    end=ENDS,
)
def test_the_one_line_of_a_block_scalar(
    *, style: str, chomp: str, indent: int, comment: str, blank: int, more: str, end: str
) -> None:
    text = f"a:\n  image: {style}{chomp}{comment}\n  {' ' * indent}{OLD}\n{chr(10) * blank}{more}".replace("\n", end)
    change = _changed(text)
    assert len(change.bumps) == 1
    assert change.after == text.replace(OLD, NEW)
    assert _loaded(change.after) == _replaced(_loaded(text), _loaded(text)["a"]["image"],
                                                     _loaded(text)["a"]["image"].replace(OLD, NEW))  # fmt: skip


@pytest.mark.parametrize(
    ("lead", "new", "why"),
    [
        pytest.param("\n  newName: ", "1", "insert more than", id="another key"),
        pytest.param("\n  newTag: 1\n  x: ", "1", "insert more than|alter more than", id="two keys"),
        pytest.param("\n- newTag: ", "1", "insert more than|after the change", id="another entry"),
        pytest.param("\n  newTag: ", "[1]", "insert more than", id="no scalar"),
        pytest.param("\n  newTag: ", "1\n  x: y", "insert more than", id="a value that goes on"),
    ],
)
def test_nothing_but_a_first_tag_is_ever_inserted(
    monkeypatch: pytest.MonkeyPatch, lead: str, new: str, why: str
) -> None:
    text = "images:\n- name: ghcr.io/acme/api\n"
    (reference,) = references(parse("kustomization.yaml", text))
    at = reference.places[-1].start
    editor = type("Wrong", (), {"edit": lambda *_: (Edit(at, at, new, lead),)})
    monkeypatch.setattr(editing, "_editor", lambda _kind: editor())
    with pytest.raises(EditError, match=why):
        edit("kustomization.yaml", text, [Wanted(reference, reference.image.at("1"), "")])


def _lines(count: int, line: str) -> str:
    return "".join(line.replace("N", str(n)) for n in range(count))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x-a: &a x/y:1\n" + _lines(50_000, "bN: {image: *a}\n"), id="aliases"),
        pytest.param(
            "a: &a {repository: x/y, tag: '1'}\n" + _lines(20_000, "bN: {<<: *a, registry: r.io}\n"), id="merges"
        ),
        pytest.param(
            f"a: &a {{{_lines(4_000, 'kNImage: x/y:1, ')}}}\n{_lines(MAX_USERS, 'bN: {<<: *a}' + chr(10))}",
            id="a large mapping, merged often",
        ),
        pytest.param(f"a: &a {{tag: '1'}}\nb: {{<<: [{'*a, ' * 50_000}], repository: x/y}}\n", id="a list of merges"),
        pytest.param(_lines(10_000, "aN: &aN {image: 'x/y:1'}\nbN: *aN\n"), id="many anchors"),
    ],
)
def test_sharing_costs_no_more_than_reading(text: str) -> None:
    """It is bounded whoever wrote the file; what is shared too often is left, and said."""
    began = time.monotonic()
    document = parse("values.yaml", text)
    read = time.monotonic() - began
    began = time.monotonic()
    found = references(document)
    assert found
    assert time.monotonic() - began < 40 * max(read, 0.1)


def test_what_is_shared_too_often_is_left() -> None:
    text = "x-a: &a ghcr.io/acme/api:1\n" + "".join(f"b{n}: {{image: *a}}\n" for n in range(MAX_USERS + 1))
    assert {one.unwritable for one in references(parse("v.yaml", text))} == {
        f"shared through more than {MAX_USERS} aliases"
    }


LINES = st.lists(
    st.sampled_from(
        [
            "b: 'x'",
            "c: {d: [1, 'two', {e: f}], g: \"h\"}",
            "i:\n- j\n- k: l",
            "# m: n",
            "o: |\n  p: q",
            "r: >-\n  s\n  t",
            "? u\n: v",
            "w: [x,\n  y]",
            "z:",
            "'quoted': \"a: b\"",
            "aa: 'it''s'",
        ]
    ),
    max_size=6,
    unique=True,
)
AROUND = st.sampled_from(
    [
        "image: {}",
        "image: {} # c",
        "a: {{image: {}, n: m}}",
        "a: [{{image: {}}}, {{x: y}}]",
        "a:\n  image: {}\n  k: l",
        'a: {{"image":{}}}',
        "a:\n- image: {}\n- image: z/z:1",
        "image:\n  {}",
        "a: {{image: {},\n  k: l}}",
    ]
)


@settings(deadline=None, max_examples=400)  # a loaded machine is no failure
@given(
    before=LINES,
    around=AROUND,
    after=LINES,
    quote=st.sampled_from(["", "'", '"']),
    new=st.text(alphabet="ab1:/.@#,{}[]&*!|>'\"%? \n-", max_size=14),
)
def test_whatever_is_written_nothing_else_changes(*, before: list[str], around: str, after: list[str], quote: str,
                                                  new: str) -> None:  # fmt: skip
    """An editor that went mad is refused, or wrote one scalar: also behind the line where reading on is left out."""
    text = "\n".join(
        [*before, around.format(f"{quote}{OLD}{quote}"), *(f"{line}" for line in after if line not in before)]
    )
    found = [one for one in references(parse("v.yaml", text)) if str(one.image) == OLD]
    if not found:
        return
    place = found[0].places[0]
    editor = type("Mad", (), {"edit": lambda *_: (Edit(place.start, place.end, new),)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editing, "_editor", lambda _kind: editor())
        try:
            change = edit("v.yaml", text, [Wanted(found[0], found[0].image.at("2"), "")])
        except EditError:
            return
    was, now = (list(yaml.load_all(one, yaml.CBaseLoader)) for one in (text, change.after))
    token = new[1:-1] if new[:1] in {"'", '"'} else new
    assert now == _replaced(was, OLD, token)
