"""From what Git says and what the registry has to one decision, with its why. Pure: values in, values out.

Facts that cost something are asked for only when the decision hangs on them: it answers Unresolved, the pipeline
fetches what that names, and asks again. That ends, because every fact is asked for once.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from updater.model.check import Check
from updater.model.decision import Hold, Mark, Reason, Unresolved, Update, Verdict
from updater.model.image import ImageRef
from updater.model.past import Past
from updater.model.people import People
from updater.model.tag import Needs, Scan, Tag
from updater.policies.base import Rank
from updater.policies.choose import Judgement, Ranking, concluded, rank, unreadable
from updater.policies.gates import PROVEN, Asked, Scene, Stop, costly
from updater.policies.rule import Rule
from updater.sync.windows import Closed

NOBODY = People()
UNPROVEN = 16
"""Candidates that may lack a signature, or be missing at a mirror, before no older one is asked about: a proof costs
several requests, and every one of thousands of tags may lack it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the list of tags.

    facts    tags by name, or by digest, with what was asked of them; also of those that are missing: they have nothing
    missing  tags that the registry does not have, though it listed them or Git names them
    past     what our commits did here; None where nobody has looked yet
    people   holds, resumes and approvals
    former   the name in full that Git still has of the image, where that is to be written anew; else empty
    closed   the window that is closed now, None where none is
    ranking  what an Unresolved brought along: the list is not sorted again for every fact
    fills    Git has no version here, and a place that waits for the first one
    mirror   the name that Git has, where what is written must be there too; None: it need not
    proven   what was checked: empty where it is so, else why not
    """

    facts: Mapping[str, Tag] = field(default_factory=dict)
    missing: AbstractSet[str] = frozenset()
    past: Past | None = None
    people: People = NOBODY
    former: str = ""
    closed: Closed | None = None
    ranking: Ranking | None = None
    fills: bool = False
    mirror: ImageRef | None = None
    proven: Mapping[Check, str] = field(default_factory=dict)


NOTHING = Known()


def decide(
    rule: Rule, current: ImageRef, scan: Scan, now: datetime, known: Known = NOTHING
) -> Update | Hold | Unresolved:
    """Decide about one current value. An incomplete list decides nothing."""
    if Needs.NAMES not in rule.policy.needs:
        return _follow(rule, current, scan, now, known)
    if not scan.complete or not scan.tags:
        return Hold(current, Reason.INCOMPLETE_SCAN, scan.why or "the registry lists no tags at all")
    if current.tag is None and current.digest is not None and known.past is None:
        return Unresolved(history=True)
    tag = _tag(current, known)
    if tag is None and known.fills and not rule.policy.alone:
        why = f"{rule.policy.words} needs a tag in Git to compare with; write the first one, or say which are wanted"
        return Hold(current, Reason.UNPARSABLE_CURRENT, why)
    if tag is None and not known.fills:
        why = f"{rule.policy.words} needs a tag in Git to compare with, found {current.version}"
        return Hold(current, Reason.UNPARSABLE_CURRENT, why)
    tags = {one.name: known.facts.get(one.name, one) for one in scan.tags if one.name not in known.missing}
    ranking = known.ranking or rank(rule, tags, tag, known.facts.get(tag or ""))
    if ranking.lacking:
        return Unresolved(dict.fromkeys(ranking.lacking, Needs.CREATED))
    left = replace(ranking, candidates=tuple(one for one in ranking.candidates if one.tag not in known.missing))
    if verdict := unreadable(rule, left, tag):
        return _hold(current, verdict)
    decision = _Decision(rule, current, tag, now, known, left, ranking.current, tags)
    answer = decision.renamed(decision.made(), tag) if known.former and tag else decision.made()
    return replace(answer, ranking=ranking) if isinstance(answer, Unresolved) else answer


@dataclass(frozen=True, slots=True)
class _Decision:
    """One decision under way: the candidates are ranked, the gates are still to be asked.

    Where Git has no tag there is no `place` to compare with, and the gates that would are not asked.
    """

    rule: Rule
    current: ImageRef
    tag: str | None
    now: datetime
    known: Known
    ranking: Ranking
    place: Rank | None
    tags: Mapping[str, Tag]

    def made(self) -> Update | Hold | Unresolved:
        """Ask the cheap gates, then what stops the image as a whole, then the gates that cost requests."""
        stops = self._cheap(self._scene(self.place)) if self.place else self._free()
        best = concluded(self.rule, self.ranking, stops)
        if why := held(self.known, self.now):
            return _hold(self.current, replace(best, reason=Reason.HELD, why=why))
        if best.target is None:
            return _hold(self.current, best)
        if self.known.past is None:
            return Unresolved(history=True)
        if self.place is None and self.known.past.wrote and not self.known.past.excused(self.known.people.resumed_at):
            why = f"human_rollback: a person took out {self.known.past.wrote}"
            return _hold(self.current, replace(best, reason=Reason.HUMAN_ROLLBACK, why=why))
        if self.known.closed:
            stops = self._outside(stops, self.known.closed)
            if None not in stops:
                return _hold(self.current, replace(best, reason=Reason.WINDOW_CLOSED, why=self.known.closed.why))
        answer = self._costly(stops)
        return answer if isinstance(answer, Unresolved) else self._concluded(answer)

    def renamed(self, answer: Update | Hold | Unresolved, tag: str) -> Update | Hold | Unresolved:
        """Return the answer where the name is to be written too: if need be with the tag that Git has.

        What stops a newer tag does not stop that one, which passes the gates on its own.
        """
        past, former = self.known.past, self.known.former
        if isinstance(answer, Unresolved) or (isinstance(answer, Hold) and answer.reason not in _STAYS):
            return answer
        if past is None:
            return Unresolved(history=True)
        if why := _undone(self.known):
            return replace(_held(answer), reason=why.reason, why=why.why)
        if isinstance(answer, Update):
            return replace(answer, why=f"{answer.why}, in place of {former}")
        if tag not in self.tags:
            why_not = f"{self.current.name}, which replaces {former}, has no tag {tag}; {answer.why}"
            return replace(answer, reason=Reason.NO_MATCH, why=why_not)
        if self.known.closed and tag not in self.known.people.approved:
            return replace(answer, reason=Reason.WINDOW_CLOSED, why=self.known.closed.why)
        stop = self._facts(tag)
        if isinstance(stop, Stop):
            return replace(answer, reason=stop.reason, why=stop.why)
        return stop or self._rewritten(answer, tag)

    def _rewritten(self, answer: Hold, tag: str) -> Update | Unresolved:
        """Return the update to the new name with the tag that Git has."""
        found = self.tags[tag]
        digest = found.digest if Needs.DIGEST in found.known else None
        if digest is None and (self.rule.write != "tag" or self.current.digest):
            return Unresolved({tag: Needs.DIGEST})
        target = written(self.rule, self.current, tag, digest)
        why = f"{answer.why}, in place of {self.known.former}"
        return Update(self.current, target, why, answer.newest, answer.verdicts, tag, digest)

    def _scene(self, place: Rank) -> Scene:
        """Return what the cheap gates judge by; a person who set an older version than we wrote is respected."""
        past = self.known.past
        tag, _, digest = (past.wrote or "").partition("@") if past else ("", "", "")
        wrote = tag or (past.tags.get(digest, "") if past else "")
        if not past or not wrote or past.excused(self.known.people.resumed_at):
            return Scene.of(self.rule, place)
        text = self.rule.tags.current(wrote)
        left = self.rule.policy.current(text, self.known.facts.get(wrote) or Tag(wrote)) if text else None
        if left is None or left.key <= place.key:
            return Scene.of(self.rule, place)
        return Scene.of(self.rule, place, left, wrote)

    def _cheap(self, scene: Scene) -> list[Stop | None]:
        approved, candidates = self.known.people.approved, self.ranking.candidates
        here = scene.among([one.rank for one in candidates])
        return [here.stop(one.rank, approved=one.tag in approved) for one in candidates]

    def _free(self) -> list[Stop | None]:
        return [None for _ in self.ranking.candidates]

    def _outside(self, stops: list[Stop | None], closed: Closed) -> list[Stop | None]:
        """Stop what was not approved while a window is closed, so that nothing else goes in place of what was."""
        shut, approved = Stop(Reason.WINDOW_CLOSED, f"window_closed: {closed.why}"), self.known.people.approved
        pairs = zip(self.ranking.candidates, stops, strict=True)
        return [stop or (None if one.tag in approved else shut) for one, stop in pairs]

    def _costly(self, stops: list[Stop | None]) -> list[Stop | None] | Unresolved:
        """Ask the gates that need facts, best candidate first, until one passes."""
        answers = list(stops)
        left = [at for at, stop in enumerate(stops) if stop is None]
        unproven: list[Stop] = []
        for tried, at in enumerate(left):
            stop = self._facts(self.ranking.candidates[at].tag) if len(unproven) < UNPROVEN else _tired(unproven)
            if isinstance(stop, Unresolved):
                return self._ahead(left[tried : tried + 1 + tried // 2])
            answers[at] = stop
            if stop is None:
                break
            unproven += [stop] if stop.reason in PROVEN and len(unproven) < UNPROVEN else []
        return answers

    def _ahead(self, places: list[int]) -> Unresolved:
        """Ask about several candidates at once: more of them, the more were stopped, so that it takes few rounds."""
        asks: dict[str, Needs] = {}
        answers = [self._facts(self.ranking.candidates[at].tag) for at in places]
        unresolved = [answer for answer in answers if isinstance(answer, Unresolved)]
        for answer in unresolved:
            for name, needs in answer.asks.items():
                asks[name] = asks.get(name, Needs(0)) | needs
        return Unresolved(asks, checks=frozenset().union(*(answer.checks for answer in unresolved)))

    def _facts(self, tag: str) -> Stop | Unresolved | None:
        # A digest of the former image says nothing about this one.
        reference = (None if self.known.former else self.current.digest) or self.tag or ""
        nothing = Tag(reference, known=Needs(0) if reference else Needs.PLATFORMS)  # no tag has none
        current = self.known.facts.get(reference) or self.tags.get(reference) or nothing
        approved, digest = tag in self.known.people.approved, self.current.digest
        asked = Asked(self.tags[tag], current, self.rule, self.now, approved)
        return _asked(asked, self.known, written(self.rule, self.current, tag, digest))

    def _concluded(self, stops: list[Stop | None]) -> Update | Hold | Unresolved:
        judgement = concluded(self.rule, self.ranking, stops)
        if judgement.target is None:
            return _hold(self.current, judgement)
        tag = self.tags[judgement.target]
        digest = tag.digest if Needs.DIGEST in tag.known else None  # else it may be a remembered one
        if digest is None and (self.rule.write != "tag" or self.current.digest):
            return Unresolved({judgement.target: Needs.DIGEST})
        target = written(self.rule, self.current, judgement.target, digest)
        if why := _flapping(self.known, target):
            return _hold(self.current, replace(judgement, target=None, reason=Reason.FLAPPING, why=why))
        return Update(
            self.current, target, judgement.why, judgement.newest, judgement.verdicts, judgement.target, digest
        )


# What stops a candidate, and not the image.
_STAYS = frozenset({Reason.UP_TO_DATE, Reason.OLDER, Reason.LEVEL, Reason.AMBIGUOUS, Reason.MIN_AGE,
                    Reason.PLATFORM_MISSING, Reason.MOVED_TAG, *PROVEN})  # fmt: skip


def _undone(known: Known) -> Stop | None:
    """Return why a former name stays: it was put back after we had replaced it, and nobody said since to go on."""
    past = known.past
    if not known.former or past is None or past.undone is None or past.excused(known.people.resumed_at):
        return None
    who = "a person" if past.undone is Reason.HUMAN_ROLLBACK else "another updater"
    return Stop(past.undone, f"{past.undone}: {who} went back to {known.former}")


def _held(answer: Update | Hold) -> Hold:
    return answer if isinstance(answer, Hold) else Hold(answer.current, Reason.HELD, "", answer.newest, answer.verdicts)


def _asked(asked: Asked, known: Known, target: ImageRef) -> Stop | Unresolved | None:
    """Ask the costly gates. `target` has a tag or a digest where one is written, whichever it is."""
    pinned = asked.rule.write != "tag" or target.digest is not None
    mirror = known.mirror.at(target.tag) if known.mirror else None
    answer = costly(replace(asked, image=target.bare, mirror=mirror, pinned=pinned, proven=known.proven))
    match answer:
        case dict():
            return Unresolved(answer)
        case frozenset():
            return Unresolved(checks=answer)
        case _:
            return answer


def _tired(unproven: list[Stop]) -> Stop:
    reason = unproven[-1].reason
    return Stop(reason, f"{reason}: not asked, as {len(unproven)} newer ones were stopped by this or the like")


def held(known: Known, now: datetime) -> str:
    """Say what a person put on hold, here or by a rollback in Git; empty where nothing is."""
    hold, past, resumed = known.people.hold, known.past, known.people.resumed_at
    if hold is not None:
        until = f" until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
        return f"held by a person{until}{f': {hold.reason}' if hold.reason else ''}"
    if past and past.held_until and past.held_until > now and not (resumed and past.held_at and resumed > past.held_at):
        return f"rolled back, held until {past.held_until:%Y-%m-%d %H:%M} UTC"
    return ""


def written(rule: Rule, current: ImageRef, tag: str, digest: str | None) -> ImageRef:
    """Return what is to stand in Git. Tag and digest never part: an old digest beside a new tag is the old image."""
    if rule.write == "digest":
        return current.at(None, digest)
    return current.at(tag, digest if rule.write == "tag_digest" or current.digest else None)


def _flapping(known: Known, target: ImageRef) -> str:
    past = known.past
    if past and target.version in past.left and not past.excused(known.people.resumed_at):
        return f"our own commits left {target.version} a short while ago; another updater may want something else"
    return ""


def _hold(current: ImageRef, judgement: Judgement) -> Hold:
    """Return the hold; what would have been chosen is a candidate that waits."""
    assert judgement.reason is not None
    waiting = tuple(
        replace(one, mark=Mark.CANDIDATE, why=f"{judgement.reason}: {one.why}") if one.mark is Mark.CHOSEN else one
        for one in judgement.verdicts
    )
    return Hold(current, judgement.reason, judgement.why, judgement.newest, waiting)


def _tag(current: ImageRef, known: Known) -> str | None:
    """Return the tag in Git, or where only its digest is written, the one that our commit told."""
    return current.tag or (known.past.tags.get(current.digest or "") if known.past else None)


def _follow(rule: Rule, current: ImageRef, scan: Scan, now: datetime, known: Known) -> Update | Hold | Unresolved:
    """Decide for a policy that follows what one tag points to; it reads no list, so an empty one says nothing."""
    name = rule.policy.follows(_tag(current, known))
    if name is None and current.digest and known.past is None:
        return Unresolved(history=True)
    if name is None:
        why = f"{rule.policy.words} needs a tag to follow, found {current.version}"
        return Hold(current, Reason.UNPARSABLE_CURRENT, why)
    if why := f"the registry has no tag {name}" if name in known.missing else rule.tags.read(name)[1]:
        return Hold(current, Reason.NO_MATCH, why, None, (Verdict(name, Mark.REJECTED, why),))
    tag = known.facts.get(name)
    if tag is None or tag.digest is None:
        if scan.complete:
            return Unresolved({name: Needs.DIGEST})
        return Hold(current, Reason.INCOMPLETE_SCAN, scan.why or "the registry did not answer in full")
    # A digest without a tag stays one, unless the rule asks for both.
    bare = rule.write == "digest" or (rule.write == "tag" and current.tag is None and current.digest is not None)
    target, words = current.at(None if bare else name, tag.digest), f"digest of {name}"
    chosen = Verdict(name, Mark.CHOSEN, words)
    return _followed(rule, Update(current, target, words, name, (chosen,), name, tag.digest), now, known)


def _followed(rule: Rule, update: Update, now: datetime, known: Known) -> Update | Hold | Unresolved:
    """Return the update to what the tag is now, unless Git has that already or something stops it."""
    current, name = update.current, update.tag or ""
    if why := held(known, now):
        return Hold(current, Reason.HELD, why, name, (Verdict(name, Mark.CANDIDATE, update.why),))
    if current.digest == update.digest and not known.former:
        verdict = Verdict(name, Mark.CANDIDATE, "up_to_date: the digest in Git")
        return Hold(current, Reason.UP_TO_DATE, f"{update.why} is unchanged", name, (verdict,))
    if known.past is None:
        return Unresolved(history=True)
    stop = _undone(known) or _stop_following(rule, update, now, known)
    if isinstance(stop, Stop):
        why = f"{stop.reason}: {stop.why.removeprefix(f'{stop.reason}: ')}"
        return Hold(current, stop.reason, stop.why, name, (Verdict(name, Mark.REJECTED, why),))
    return stop or (replace(update, why=f"{update.why}, in place of {known.former}") if known.former else update)


def _stop_following(rule: Rule, update: Update, now: datetime, known: Known) -> Stop | Unresolved | None:
    """Return what stops a new digest. Digests have no order: a person went back if we wrote this very one before."""
    past, people, current = known.past, known.people, update.current
    assert past is not None
    wrote = (past.wrote or "").partition("@")[2]
    if wrote == update.digest and current.digest and not past.excused(people.resumed_at):
        return Stop(Reason.HUMAN_ROLLBACK, f"human_rollback: a person went back from {wrote[:19]}")
    if known.closed and update.tag not in people.approved:
        return Stop(Reason.WINDOW_CLOSED, known.closed.why)
    if why := _flapping(known, update.target):
        return Stop(Reason.FLAPPING, why)
    reference, digest = current.digest or "", update.digest or ""
    now_in_git = known.facts.get(reference) or Tag(reference, known=Needs(0) if reference else Needs.PLATFORMS)
    content = known.facts.get(digest) or Tag(digest, digest)  # its age is that of the digest
    moving = rule.model_copy(update={"moved_tag": "follow"})  # that the tag moves is the point
    return _asked(Asked(content, now_in_git, moving, now, update.tag in people.approved), known, update.target)
