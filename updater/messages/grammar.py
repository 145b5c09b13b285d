"""What operators' templates may say: a list of parts, names, filters and tests, each of them known to be harmless.

Every part of a template is looked up in the tables here when the configuration is read; what is in none of them is
refused with its line. Of every expression it is known whether it is a text, a list, a place or a loop, so that a
misspelt name is found then too, and not when something has happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # nodes are told apart by the names of their classes, so that Jinja is not loaded without a template
    from jinja2 import nodes

MAX_PARTS = 600  # of a template, besides its plain text
MAX_DEPTH = 30  # one in another
MAX_SUMS = 64  # `~` and `+`, the only operators that make longer texts of short ones
MAX_LOOPS = 2  # one in another
MAX_SHOWN = 60  # characters of a name in an error

TEXTS = frozenset({
    "kind", "severity", "text", "time", "language", "subject", "image", "item", "reference", "registry", "repository",
    "branch", "application", "project", "cluster", "old", "new", "digest", "reason", "why", "commit", "commit_url",
    "release_notes",
})  # fmt: skip
SPOT = frozenset({"file", "line", "repository", "branch", "spelled"})
COMMIT_TEXTS = frozenset({"group", "repository", "branch", "subject", "changed"})
CHANGED = frozenset({"image", "spelled", "old", "new", "file", "line", "reason", "release_notes", "source"})
TESTS = ("defined", "undefined", "none", "string", "number", "odd", "even", "true", "false")
_OF_LISTS = ("join", "length", "count", "first", "last", "default", "d")
FILTERS = (*_OF_LISTS, "upper", "lower", "capitalize", "title", "trim", "truncate", "int", "string", "escape", "e")

TEXT, SPOTS, IMAGES, LABELS, PLACE, LOOP = "a text", "`spots`", "`images`", "`labels`", "a place", "`loop`"
CHANGES, CHANGE = "`changes`", "a change"
MIXED = "what may be a list"  # it can be asked whether it is empty, and nothing else
EVENTS: Mapping[str, str] = dict.fromkeys(TEXTS, TEXT) | {"spots": SPOTS, "images": IMAGES, "labels": LABELS}
COMMITS: Mapping[str, str] = dict.fromkeys(COMMIT_TEXTS, TEXT) | {"changes": CHANGES, "images": IMAGES}
GROUPS: Mapping[str, str] = dict.fromkeys(("group", "repository", "branch"), TEXT)
_EACH: Mapping[str, str] = {SPOTS: PLACE, IMAGES: TEXT, LABELS: TEXT, CHANGES: CHANGE}  # what a list is made of
_PARTS: Mapping[str, frozenset[str]] = {
    PLACE: SPOT,
    CHANGE: CHANGED,
    LOOP: frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"}),
}

Scope = Mapping[str, str]  # which names there are, and what they are


def check(tree: nodes.Template, names: Scope = EVENTS) -> None:
    """Check a whole template that has these names. Raises ValueError, which names the line and what was expected."""
    _small(tree)
    _Check().body(tree.body, names, 0)


def sample(names: Scope) -> dict[str, object]:
    """Return made-up values of these names, as a template meets them."""
    lists = {
        SPOTS: [dict.fromkeys(SPOT, "sample") | {"line": 1}],
        CHANGES: [dict.fromkeys(CHANGED, "sample") | {"line": 1}],
        IMAGES: ["sample"],
        LABELS: {},
    }
    return {name: lists.get(kind, "sample") for name, kind in names.items()}


def _small(tree: nodes.Template) -> None:
    """Count before anything walks it by recursion."""
    count = 0
    todo: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        count += _is(node) != "TemplateData"
        if count > MAX_PARTS or depth > MAX_DEPTH:
            raise _refused(node, "too many parts, or parts too deep in one another", "a simpler template")
        todo += [(child, depth + 1) for child in node.iter_child_nodes()]


class _Check:
    """One walk: statements by `body`, expressions by `type`, each kind of node by the method of its name."""

    def __init__(self) -> None:
        self._sums = 0
        self._types: Mapping[str, Callable[[Any, Scope], str]] = {
            "Const": lambda _node, _scope: TEXT,
            "Name": self._name,
            "Getattr": lambda node, scope: _part(node, self.type(node.node, scope), node.attr),
            "Getitem": self._item,
            "Filter": self._filter,
            "Test": self._test,
            "CondExpr": self._choice,
            "And": lambda node, scope: self._either((node.left, node.right), scope),
            "Or": lambda node, scope: self._either((node.left, node.right), scope),
            "Not": self._not,
            "Compare": self._compare,
            "Concat": lambda node, scope: self._sum(node, node.nodes, scope),
            "Add": lambda node, scope: self._sum(node, (node.left, node.right), scope),
        }
        self._statements: Mapping[str, Callable[[Any, Scope, int], None]] = {
            "Output": self._output,
            "If": self._if,
            "For": self._for,
        }

    def body(self, body: Iterable[nodes.Node], scope: Scope, loops: int) -> None:
        """Check statements in turn."""
        for node in body:
            statement = self._statements.get(_is(node))
            if statement is None:
                raise _refused(node, f"`{_is(node).lower()}`", "only `if` and `for`")
            statement(node, scope, loops)

    def type(self, node: nodes.Node, scope: Scope) -> str:
        """Return what an expression is: a text, one of the lists, a place or a loop."""
        expression = self._types.get(_is(node))
        if expression is None:
            raise _refused(node, f"`{_is(node).lower()}`", "names, texts, comparisons and filters")
        return expression(node, scope)

    def _texts(self, parts: Iterable[nodes.Node], scope: Scope) -> None:
        for node in parts:
            kind = self.type(node, scope)
            if kind != TEXT:
                raise _refused(node, f"{kind} in place of a text", "a part of it, or a `for` over it")

    def _output(self, node: nodes.Output, scope: Scope, _loops: int) -> None:
        self._texts((part for part in node.nodes if _is(part) != "TemplateData"), scope)

    def _if(self, node: nodes.If, scope: Scope, loops: int) -> None:
        self.type(node.test, scope)
        for inner in (node.body, node.elif_, node.else_):
            self.body(inner, scope, loops)

    def _for(self, node: nodes.For, scope: Scope, loops: int) -> None:
        kind = self.type(node.iter, scope)
        if kind not in _EACH:
            raise _refused(node, f"`for` over {kind}", _lists(scope))
        if loops == MAX_LOOPS or node.recursive:
            raise _refused(node, "`for` too deep in another", f"at most {MAX_LOOPS} deep, and none recursive")
        name = getattr(node.target, "name", None)
        if name is None:
            raise _refused(node, "`for` with several names", "one name, as in `for spot in spots`")
        inner = {**scope, name: _EACH[kind]}
        if node.test is not None:
            self.type(node.test, inner)
        self.body(node.body, {**inner, "loop": LOOP}, loops + 1)
        self.body(node.else_, scope, loops)

    def _name(self, node: nodes.Name, scope: Scope) -> str:
        if node.name not in scope:
            raise _refused(node, f"unknown name `{_shown(node.name)}`", f"one of {', '.join(sorted(scope))}")
        return scope[node.name]

    def _item(self, node: nodes.Getitem, scope: Scope) -> str:
        return _part(node, self.type(node.node, scope), getattr(node.arg, "value", None))

    def _filter(self, node: nodes.Filter, scope: Scope) -> str:
        if node.name not in FILTERS:
            raise _refused(node, f"unknown filter `{_shown(node.name)}`", f"one of {', '.join(sorted(FILTERS))}")
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise _refused(node, f"filter `{node.name}` in an unknown form", "`value|filter(argument)`")
        self._texts((*node.args, *(keyword.value for keyword in node.kwargs)), scope)
        kind = self.type(node.node, scope)
        if kind != TEXT and (kind not in _EACH or node.name not in _OF_LISTS):
            raise _refused(node, f"filter `{node.name}` of {kind}", "a text before it")
        if kind not in _EACH and node.name == "join":
            raise _refused(node, f"filter `join` of {kind}", "a list before it")
        if node.name in {"default", "d"} and kind != TEXT:
            return MIXED
        return _EACH.get(kind, TEXT) if node.name in {"first", "last"} else TEXT

    def _test(self, node: nodes.Test, scope: Scope) -> str:
        if node.name not in TESTS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise _refused(node, f"unknown test `{_shown(node.name)}`", f"one of {', '.join(TESTS)}")
        self.type(node.node, scope)
        return TEXT

    def _choice(self, node: nodes.CondExpr, scope: Scope) -> str:
        if node.expr2 is None:
            raise _refused(node, "`if` without `else`", "`a if b else c`")
        self.type(node.test, scope)
        return self._either((node.expr1, node.expr2), scope)

    def _either(self, parts: Sequence[nodes.Node], scope: Scope) -> str:
        """Return what one of these will be."""
        kinds = {self.type(part, scope) for part in parts}
        return kinds.pop() if len(kinds) == 1 else MIXED

    def _not(self, node: nodes.Not, scope: Scope) -> str:
        self.type(node.node, scope)
        return TEXT

    def _compare(self, node: nodes.Compare, scope: Scope) -> str:
        self.type(node.expr, scope)
        for operand in node.ops:
            if operand.op in {"in", "notin"} and _is(operand.expr) in {"List", "Tuple"}:
                self._texts(operand.expr.iter_child_nodes(), scope)
            else:
                self.type(operand.expr, scope)
        return TEXT

    def _sum(self, node: nodes.Node, parts: Sequence[nodes.Node], scope: Scope) -> str:
        self._sums += len(parts) - 1
        if self._sums > MAX_SUMS:
            raise _refused(node, "too many `~` and `+`", f"at most {MAX_SUMS}")
        self._texts(parts, scope)
        return TEXT


def _part(node: nodes.Node, kind: str, key: object) -> str:
    """Return what `kind.key` or `kind[key]` is."""
    if kind == LABELS and isinstance(key, str) and not key.startswith("_"):
        return TEXT
    if kind in _EACH and kind != LABELS and type(key) is int:
        return _EACH[kind]
    if key in _PARTS.get(kind, ()):
        return TEXT
    raise _refused(node, f"unknown part `{_shown(key)}` of {kind}", _expected_of(kind))


def _expected_of(kind: str) -> str:
    if kind == LABELS:
        return "the name of a label"
    if kind in _EACH:
        return "a number, or a `for` over it"
    return f"one of {', '.join(sorted(_PARTS[kind]))}" if kind in _PARTS else "the name alone"


def _lists(scope: Scope) -> str:
    return " or ".join(f"`{name}`" for name, kind in sorted(scope.items()) if kind in _EACH) or "no loop"


def _is(node: nodes.Node) -> str:
    return type(node).__name__


def _shown(name: object) -> str:
    text = str(name)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _refused(node: nodes.Node, found: str, expected: str) -> ValueError:
    return ValueError(f"found {found} in line {node.lineno}, expected {expected}")
