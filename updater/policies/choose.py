"""From a list of tags to the one that is wanted, with a verdict on every tag.

Candidates are judged best first: the best that passes every gate is the target, and only where none passes is there
no update, for the reason that stopped the best. Nothing here depends on the order of the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updater.model.decision import Mark, Reason, Verdict
from updater.model.tag import Tag
from updater.policies.base import Rank
from updater.policies.gates import Gates, Stop

if TYPE_CHECKING:  # rule reads the family from this folder, so it imports this module
    from updater.policies.rule import Rule


@dataclass(frozen=True, slots=True)
class Judgement:
    """The tag to go to, or None and the reason why not. `newest` is the policy's best, before any gate.

    `verdicts` has the tags that the policy wants, best first, then the others by name.
    """

    target: str | None
    reason: Reason | None
    why: str
    newest: str | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    tag: str
    rank: Rank


def judge(rule: Rule, tags: Sequence[Tag], current: str | None) -> Judgement:
    """Judge every tag. Without a current one the best is the target, and no gate is asked."""
    beside = rule.tags.current(current) if current is not None else None
    known = {tag.name: tag for tag in tags}
    rank = rule.policy.current(beside, known.get(current or "") or Tag(current or "")) if beside is not None else None
    candidates, rejected = _sift(rule, known, beside if rank else None)
    _best_first(candidates, current if rank else None, rank)
    if current is not None and rank is None:
        why = f"{rule.policy.words} cannot read the current tag {current}"
        newest = candidates[0].tag if candidates else None
        return Judgement(None, Reason.UNPARSABLE_CURRENT, why, newest, _unjudged(candidates) + rejected)
    if not candidates:
        why = f"{rule.policy.words}: none of {len(known)} tags" if known else "the list of tags is empty"
        return Judgement(None, Reason.NO_MATCH, why, None, rejected)
    gates = Gates(rule.level or rule.policy.default_level, rule.max_major_step)
    stops = [gates.stop(candidate.rank, rank) if rank else None for candidate in candidates]
    return _choose(rule, candidates, stops, rejected)


def _sift(rule: Rule, known: Mapping[str, Tag], beside: str | None) -> tuple[list[_Candidate], tuple[Verdict, ...]]:
    read, rank = rule.tags.read, rule.policy.rank
    candidates: list[_Candidate] = []
    rejected: list[tuple[str, str]] = []
    for name, tag in known.items():
        text, why = read(name)
        answer = why or rank(text, beside, tag)
        if isinstance(answer, Rank):
            candidates.append(_Candidate(name, answer))
        else:
            rejected.append((name, answer))
    return candidates, tuple(Verdict(name, Mark.REJECTED, why) for name, why in sorted(rejected))


def _best_first(candidates: list[_Candidate], current: str | None, rank: Rank | None) -> None:
    """Sort by precedence; of equals, those spelled as the current tag come first, then the smallest text."""
    candidates.sort(key=lambda candidate: candidate.tag)
    if current is not None and rank is not None:
        prefixed, parts = current.startswith("v"), rank.parts
        candidates.sort(key=lambda one: (one.tag.startswith("v") != prefixed, one.rank.parts != parts))
    candidates.sort(key=lambda candidate: candidate.rank.key, reverse=True)


def _choose(
    rule: Rule, candidates: list[_Candidate], stops: list[Stop | None], rejected: tuple[Verdict, ...]
) -> Judgement:
    newest, counted = candidates[0].tag, f"newest of {len(candidates)}"
    chosen = next((at for at, stop in enumerate(stops) if stop is None), -1)
    judged = enumerate(zip(candidates, stops, strict=True))
    verdicts = tuple(_verdict(one, stop, chosen=at == chosen) for at, (one, stop) in judged) + rejected
    if chosen >= 0:
        passed_over = sorted({stop.reason for stop in stops[:chosen] if stop})
        but = f" but {chosen} ({', '.join(passed_over)})" if chosen else ""
        return Judgement(candidates[chosen].tag, None, f"{rule.policy.words}, {counted}{but}", newest, verdicts)
    stop = stops[0]
    assert stop is not None
    return Judgement(None, stop.reason, f"{rule.policy.words}, {newest} is {counted}; {stop.why}", newest, verdicts)


def _verdict(candidate: _Candidate, stop: Stop | None, *, chosen: bool) -> Verdict:
    if chosen:
        return Verdict(candidate.tag, Mark.CHOSEN, "the newest that passes")
    if stop is None:
        return Verdict(candidate.tag, Mark.CANDIDATE, "not the newest")
    # The version in Git is no update, but nothing is wrong with it.
    return Verdict(candidate.tag, Mark.CANDIDATE if stop.reason is Reason.UP_TO_DATE else Mark.REJECTED, stop.why)


def _unjudged(candidates: list[_Candidate]) -> tuple[Verdict, ...]:
    return tuple(Verdict(candidate.tag, Mark.CANDIDATE, "wanted by the policy") for candidate in candidates)
