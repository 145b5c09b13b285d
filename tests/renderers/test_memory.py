"""What was used longest ago is forgotten first, and the bound holds."""

from __future__ import annotations

from updater.renderers.memory import Memory


def kept(memory: Memory[int], keys: str) -> str:
    return "".join(key for key in keys if memory.get(key) is not None)


def test_the_oldest_goes_first() -> None:
    memory: Memory[int] = Memory(3)
    for key in "abcd":
        memory.put(key, 1, 1)
    assert kept(memory, "abcd") == "bcd"


def test_what_is_used_stays() -> None:
    memory: Memory[int] = Memory(2)
    memory.put("a", 1, 1)
    memory.put("b", 1, 1)
    assert memory.get("a") == 1
    memory.put("c", 1, 1)
    assert kept(memory, "abc") == "ac"


def test_what_alone_is_too_heavy_is_not_kept_and_displaces_nothing() -> None:
    memory: Memory[int] = Memory(2)
    memory.put("a", 1, 1)
    memory.put("b", 1, 3)
    assert kept(memory, "ab") == "a"


def test_a_value_that_is_put_again_counts_once() -> None:
    memory: Memory[int] = Memory(2)
    for value in range(5):
        memory.put("a", value, 1)
    memory.put("b", 1, 1)
    assert (memory.get("a"), memory.get("b")) == (4, 1)
