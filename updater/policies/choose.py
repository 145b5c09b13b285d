"""From a list of tags to the one that is wanted, with a verdict on every tag.

Candidates are judged best first: the best that passes every gate is the target, and only where none passes is there
no update, for the reason that stopped the best. Nothing here depends on the order of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from updater.model.decision import Mark, Reason, Verdict
from updater.model.tag import Needs, Tag
from updater.policies.base import Rank
from updater.policies.gates import Scene, Stop

if TYPE_CHECKING:  # rule reads the family from this folder, so it imports this module
    from updater.policies.rule import Choice


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tag that the policy wants, and where it stands."""

    tag: str
    rank: Rank


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates, best first, the verdicts on all other tags, and the rank of the tag in Git.

    `current` is None where there is no tag, or none that the policy can read. `lacking` names tags whose facts the
    policy needs first; the ranking is then empty.
    """

    candidates: tuple[Candidate, ...] = ()
    rejected: tuple[Verdict, ...] = ()
    current: Rank | None = None
    lacking: tuple[str, ...] = ()


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


def judge(choice: Choice, tags: Iterable[Tag], current: str | None) -> Judgement:
    """Judge every tag by policy, filters and the cheap gates. Without a current one the best is the target."""
    ranking = rank(choice, {tag.name: tag for tag in tags}, current)
    if verdict := unreadable(choice, ranking, current):
        return verdict
    ranks = [one.rank for one in ranking.candidates]
    scene = Scene.of(choice, ranking.current).among(ranks) if ranking.current else None
    return concluded(choice, ranking, [scene.stop(one) if scene else None for one in ranks])


def rank(choice: Choice, known: Mapping[str, Tag], current: str | None, fact: Tag | None = None) -> Ranking:
    """Sort out what the policy wants of the tags, by name, beside the tag in Git.

    `fact` is what is known of the tag in Git, which may have left the list.
    """
    policy = choice.policy
    counted, rejected = _counted(choice, known)
    beside = choice.tags.current(current) if current is not None else None
    facts = policy.needs & Needs.CREATED  # what a digest points to ranks nothing
    now = fact or known.get(current or "") or Tag(current or "")
    lacking = [name for name, _ in counted if facts not in known[name].known]
    if lacking or (beside is not None and facts not in now.known):
        extra = [now.name] if beside is not None and facts not in now.known else []
        return Ranking(lacking=tuple(dict.fromkeys([*extra, *lacking])))
    place = policy.current(beside, now) if beside is not None else None
    candidates: list[Candidate] = []
    for name, text in counted:
        answer = policy.rank(text, beside if place else None, known[name])
        if isinstance(answer, Rank):
            candidates.append(Candidate(name, answer))
        else:
            rejected.append((name, answer))
    _best_first(candidates, current if place else None, place)
    return Ranking(tuple(candidates), tuple(Verdict(name, Mark.REJECTED, why) for name, why in sorted(rejected)), place)


def unreadable(choice: Choice, ranking: Ranking, current: str | None) -> Judgement | None:
    """Return the judgement where there is nothing to judge: no version in Git, or no candidate."""
    newest = ranking.candidates[0].tag if ranking.candidates else None
    words = choice.policy.words
    if ranking.lacking:
        why = f"{words} needs more than the names of tags"
        rejected = tuple(Verdict(name, Mark.REJECTED, f"no_match: {why}") for name in sorted(ranking.lacking))
        return Judgement(None, Reason.NO_MATCH, why, None, rejected)
    if current is not None and ranking.current is None:
        why = f"{words} cannot read the current tag {current}"
        return Judgement(None, Reason.UNPARSABLE_CURRENT, why, newest, unjudged(ranking) + ranking.rejected)
    if newest is None:
        count = len(ranking.rejected)
        why = f"{words}: none of {count} tags" if count else "the list of tags is empty"
        return Judgement(None, Reason.NO_MATCH, why, None, ranking.rejected)
    return None


def concluded(choice: Choice, ranking: Ranking, stops: Sequence[Stop | None]) -> Judgement:
    """Choose the first candidate that nothing stops."""
    candidates = ranking.candidates
    newest, counted = candidates[0].tag, f"newest of {len(candidates)}"
    # Nothing below the version in Git is gone to while that is still wanted, also where downgrades are allowed.
    at_rest = next((at for at, stop in enumerate(stops) if stop and stop.reason is Reason.UP_TO_DATE), len(stops))
    chosen = next((at for at, stop in enumerate(stops[:at_rest]) if stop is None), -1)
    judged = enumerate(zip(candidates, stops, strict=True))
    verdicts = tuple(_verdict(one, stop, chosen=at == chosen) for at, (one, stop) in judged) + ranking.rejected
    words = choice.policy.words
    if chosen >= 0:
        passed_over = sorted({stop.reason for stop in stops[:chosen] if stop})
        but = f" but {chosen} ({', '.join(passed_over)})" if chosen else ""
        return Judgement(candidates[chosen].tag, None, f"{words}, {counted}{but}", newest, verdicts)
    stop = stops[0]
    assert stop is not None
    return Judgement(None, stop.reason, f"{words}, {newest} is {counted}; {stop.why}", newest, verdicts)


def unjudged(ranking: Ranking) -> tuple[Verdict, ...]:
    """Return verdicts for candidates that no gate was asked about."""
    return tuple(Verdict(one.tag, Mark.CANDIDATE, "wanted by the policy") for one in ranking.candidates)


def _counted(choice: Choice, known: Mapping[str, Tag]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what is compared of the tags that count, and why the others do not."""
    counted: list[tuple[str, str]] = []
    rejected: list[tuple[str, str]] = []
    read = choice.tags.read
    for name in known:
        text, why = read(name)
        if why:
            rejected.append((name, why))
        else:
            counted.append((name, text))
    return counted, rejected


def _best_first(candidates: list[Candidate], current: str | None, place: Rank | None) -> None:
    """Sort by precedence; of equals, those spelled as the current tag come first, then the smallest text."""
    candidates.sort(key=lambda candidate: candidate.tag)
    if current is not None and place is not None:
        prefixed, parts = current.startswith("v"), place.parts
        candidates.sort(key=lambda one: (one.tag.startswith("v") != prefixed, one.rank.parts != parts))
    candidates.sort(key=lambda candidate: candidate.rank.key, reverse=True)


def _verdict(candidate: Candidate, stop: Stop | None, *, chosen: bool) -> Verdict:
    if chosen:
        return Verdict(candidate.tag, Mark.CHOSEN, "the newest that passes")
    if stop is None:
        return Verdict(candidate.tag, Mark.CANDIDATE, "not the newest")
    # The version in Git is no update, but nothing is wrong with it.
    return Verdict(candidate.tag, Mark.CANDIDATE if stop.reason is Reason.UP_TO_DATE else Mark.REJECTED, stop.why)
