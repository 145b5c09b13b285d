"""Properties of edits over random documents: what is planted is found, and only that changes.

A document is a list of pieces: text, and slots that hold a version. The expected result is put together from the same
pieces, without the product.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from updater.editors.base import references
from updater.editors.document import Words, parse
from updater.pipeline.edit import edit

TAGS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True),
    st.sampled_from(
        ["1.10", "1_0", "0x1f", "1e3", "on", "2024-01-01", "0755", "null", "1.2.3", "v2", "12", "~x", "=="]
    ),
).filter(lambda tag: tag[0] not in "~=")
OLD = TAGS.filter(lambda tag: tag.lower() != "null")  # `tag: null` is no tag: the chart decides
QUOTES = st.sampled_from(["", "'", '"'])
GAP = st.sampled_from([" ", "  ", "   "])
TAIL = st.sampled_from(["", " ", "  # tag: 9.9.9", "\t# 💾 ü", " \t"])
FILLER = st.sampled_from(
    [
        "# image: ghcr.io/acme/other:1.0",
        "",
        "   ",
        "text: 'image: a:1'",
        "größe: 💾",
        "list: [1, two, {three: 3}]",
        "on: yes",
        "block: |\n  image: ghcr.io/acme/other:1.0\n  --- no marker\n",
        'folded: "a\n  b"',
        "anchor: &x {a: 1}\nagain: *x",
        "? complex\n: value",
        "url: https://example.com/a:1",
    ]
)


@dataclass(frozen=True)
class Slot:
    """A place for a version: a prefix that is a part of its token, and its quotes."""

    prefix: str
    quote: str


Piece = str | Slot


@st.composite
def blocks(draw: st.DrawFn) -> list[Piece]:
    """One reference at the top level of values, in block or flow style."""
    key, pad, gap, tail, quote = (
        draw(s) for s in (st.sampled_from(["image", "initImage", "IMAGE"]), GAP, GAP, TAIL, QUOTES)
    )
    colon = draw(st.sampled_from([":", " :"])) + gap
    name = draw(st.sampled_from(["ghcr.io/acme/api", "nginx", "localhost:5000/a/b", "'ghcr.io/acme/api'"]))
    slot = Slot("", quote)
    shape = draw(st.sampled_from(["inline", "pair", "flow", "list", "json"]))
    if shape == "inline":
        return [f"{key}{colon}", Slot(name.strip("'") + ":", quote), tail]
    if shape == "pair":
        return [f"{key}:\n{pad}repository{colon}{name}\n{pad}tag{colon}", slot, f"{tail}\n{pad}pullPolicy: Always"]
    if shape == "flow":
        return [f"{key}: {{repository: {name}, tag:{gap}", slot, f",{gap}pull: x }}{tail}"]
    if shape == "list":
        return [f"{key}s:\n{pad}- {key}{colon}", Slot(name.strip("'") + ":", quote), f"{tail}\n{pad}  name: x"]
    return [f'"{key}": {{"repository":"x/y","tag":', Slot("", '"'), f"}}{tail}"]


@st.composite
def streams(draw: st.DrawFn) -> list[Piece]:
    """A file: documents of filler and references, with one line end, maybe a BOM, maybe no newline at the end."""
    pieces: list[Piece] = []
    for _ in range(draw(st.integers(1, 3))):
        pieces.append("document: 1\n")  # PyYAML, the second reader, takes no end of a document that has not begun
        for number, block in enumerate(draw(st.lists(st.one_of(FILLER, blocks()), min_size=1, max_size=5))):
            lines = [block] if isinstance(block, str) else block
            first, *rest = lines
            assert isinstance(first, str)
            pieces += [_renamed(first, number), *rest, "\n"]
        pieces.append(draw(st.sampled_from(["---\n", "--- # next\n", "...\n---\n"])))
    pieces = pieces[: -1 - draw(st.integers(0, 1))]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return [mark, *(piece.replace("\n", end) if isinstance(piece, str) else piece for piece in pieces)]


def _renamed(text: str, number: int) -> str:
    """Keys and anchors that do not repeat in a document: of keys only the last is read, PyYAML refuses anchors."""
    text = text.replace("&x", f"&x{number}").replace("*x", f"*x{number}")
    quoted = text.startswith('"')
    plain = text[:1].isalpha()
    return f'"k{number}{text[1:]}' if quoted else f"k{number}{text}" if plain else text


def _render(pieces: list[Piece], tag: str, *, quoted: bool = False) -> str:
    """The file with every slot at this tag; `quoted` puts it in double quotes where it is plain."""
    return "".join(
        piece if isinstance(piece, str) else _token(piece, tag, '"' if quoted and not piece.quote else piece.quote)
        for piece in pieces
    )


def _token(slot: Slot, tag: str, quote: str) -> str:
    return f"{quote}{slot.prefix}{tag}{quote}"


def _is_text(token: str) -> bool:
    readers = (yaml.safe_load, YAML(typ="safe", pure=True).load)
    return all(reader(f"a: {token}") == {"a": token} for reader in readers)


@settings(deadline=None)  # a loaded machine is no failure
@given(pieces=streams(), old=OLD, new=TAGS)
def test_only_the_planted_versions_change(pieces: list[Piece], old: str, new: str) -> None:
    before = _render(pieces, old)
    slots = [piece for piece in pieces if isinstance(piece, Slot)]
    document = parse("values.yaml", before.encode())
    found = references(document)
    assert document.skipped == ()
    assert [(r.image.tag, r.unwritable) for r in found] == [(old, "")] * len(slots)
    change = edit("values.yaml", before, [(r, r.image.at(new), "why") for r in found])
    assert len(change.bumps) == (0 if old == new else len(slots))
    _check(pieces, change.after, new if change.bumps else old, fresh=bool(change.bumps))
    expected = list(yaml.load_all(_render(pieces, new, quoted=True), Loader=yaml.CBaseLoader))
    assert list(yaml.load_all(change.after, Loader=yaml.CBaseLoader)) == expected


def _check(pieces: list[Piece], after: str, tag: str, *, fresh: bool) -> None:
    """Walk the result piece by piece: text is identical, a version keeps its quotes or needed new ones."""
    at = 0
    for piece in pieces:
        if isinstance(piece, str):
            assert after[at : at + len(piece)] == piece
            at += len(piece)
            continue
        token = _token(piece, tag, piece.quote)
        if not piece.quote and fresh and after[at : at + 1] == '"':
            token = _token(piece, tag, '"')
        elif not piece.quote and fresh:
            assert _is_text(token)
        assert after[at : at + len(token)] == token
        at += len(token)
    assert at == len(after)


@settings(deadline=None)  # a loaded machine is no failure
@given(pieces=streams(), old=OLD, new=TAGS)
def test_an_edit_is_done_once(pieces: list[Piece], old: str, new: str) -> None:
    """A second look at the result finds the targets in place and changes nothing."""
    before = _render(pieces, old)
    once = edit("v.yaml", before, [(r, r.image.at(new), "") for r in references(parse("v.yaml", before))]).after
    again = references(parse("v.yaml", once))
    assert {r.image.tag for r in again} <= {new}
    assert edit("v.yaml", once, [(r, r.image.at(new), "") for r in again]).after == once


@settings(deadline=None)  # a loaded machine is no failure
@given(pieces=streams(), old=OLD)
def test_words_leave_out_documents_but_no_reference_of_theirs(pieces: list[Piece], old: str) -> None:
    text = _render(pieces, old)
    every = references(parse("v.yaml", text))
    some = references(parse("v.yaml", text, Words(["ghcr.io/acme/api"])))
    assert [r for r in some if r.spelled == "ghcr.io/acme/api"] == [r for r in every if r.spelled == "ghcr.io/acme/api"]


@settings(deadline=None)  # a loaded machine is no failure
@given(st.text(alphabet="[]{}-?:,&*!|>'\"%@`#~ \n\r\tab1.\ufeff\x85\u2028💾", max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is in a file, reading ends with nodes or with a reason, and places are where they say."""
    document = parse("x.yaml", text)
    for reference in references(document):
        for place in reference.places:
            assert 0 <= place.start <= place.end <= len(text)
            assert reference.unwritable or place.value in text[place.start : place.end]


@settings(deadline=None)  # a loaded machine is no failure
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    document = parse("x.yaml", data)
    assert document.text.encode() == data or (document.parts == () and document.skipped)
