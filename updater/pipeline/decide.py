"""From what Git says and what the registry has to one decision, with its why. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from updater.model.decision import Hold, Mark, Reason, Unresolved, Update, Verdict
from updater.model.image import ImageRef
from updater.model.tag import Needs, Scan
from updater.policies.choose import Judgement, judge
from updater.policies.rule import Rule


def decide(
    rule: Rule, current: ImageRef, scan: Scan, missing: AbstractSet[str] = frozenset()
) -> Update | Hold | Unresolved:
    """Decide about one current value.

    Unresolved names tags whose digests are needed: fetch them, put them in `scan.tags` (a name may stand there twice,
    with and without its digest) or, where the registry says that it has no such tag, in `missing`, and ask again.
    That ends, because every answer is asked for once. An incomplete list decides nothing.
    """
    if Needs.NAMES not in rule.policy.needs:
        return _follow(rule, current, scan, missing)
    tags = tuple(tag for tag in scan.tags if tag.name not in missing) if missing else scan.tags
    if not scan.complete or not scan.tags:
        return Hold(current, Reason.INCOMPLETE_SCAN, scan.why or "the registry lists no tags at all")
    if current.tag is None:
        why = f"{rule.policy.words} needs a tag in Git to compare with, found {current.version}"
        return Hold(current, Reason.UNPARSABLE_CURRENT, why)
    judgement = judge(rule, tags, current.tag)
    if judgement.target is None:
        assert judgement.reason is not None
        return Hold(current, judgement.reason, judgement.why, judgement.newest, judgement.verdicts)
    return _update(rule, current, scan, judgement, judgement.target)


def _update(rule: Rule, current: ImageRef, scan: Scan, judgement: Judgement, tag: str) -> Update | Unresolved:
    if rule.write == "tag" and current.digest is None:
        target = current.at(tag)
    elif (digest := _digest(scan, tag)) is None:
        return Unresolved((tag,))
    else:
        # Tag and digest never part: the old digest beside a new tag would still run the old image.
        target = current.at(None if rule.write == "digest" else tag, digest)
    return Update(current, target, judgement.why, judgement.newest, judgement.verdicts)


def _follow(rule: Rule, current: ImageRef, scan: Scan, missing: AbstractSet[str]) -> Update | Hold | Unresolved:
    """Decide for a policy that follows what one tag points to; it reads no list, so an empty one says nothing."""
    tag = rule.policy.follows(current.tag)
    if tag is None:
        why = f"{rule.policy.words} needs a tag to follow, found {current.version}"
        return Hold(current, Reason.UNPARSABLE_CURRENT, why)
    if why := f"the registry has no tag {tag}" if tag in missing else rule.tags.read(tag)[1]:
        return Hold(current, Reason.NO_MATCH, why, None, (Verdict(tag, Mark.REJECTED, why),))
    digest = _digest(scan, tag)
    if digest is None:
        why = scan.why or f"the digest of {tag} is not known"
        return Unresolved((tag,)) if scan.complete else Hold(current, Reason.INCOMPLETE_SCAN, why)
    why = f"digest of {tag}"
    if current.digest == digest:
        verdict = Verdict(tag, Mark.CANDIDATE, "up_to_date: the digest in Git")
        return Hold(current, Reason.UP_TO_DATE, f"{why} is unchanged", tag, (verdict,))
    # A digest without a tag stays one, unless the rule asks for both.
    bare = rule.write == "digest" or (rule.write == "tag" and current.tag is None and current.digest is not None)
    return Update(current, current.at(None if bare else tag, digest), why, tag, (Verdict(tag, Mark.CHOSEN, why),))


def _digest(scan: Scan, name: str) -> str | None:
    return next((tag.digest for tag in scan.tags if tag.name == name and tag.digest), None)
