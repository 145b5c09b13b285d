"""What is told in English."""

from __future__ import annotations

from updater.messages.words import Labels, Reasoned, Told, Words
from updater.model.event import Kind

_POLICY, _DETAILS, _ERROR, _EARLIER = "Policy", "Details", "Error", "Earlier error"
_PULL_REQUEST = "Pull request"
_FAILING = "still failing since {since}"

_KINDS = {
    Kind.IMAGE_UPDATED: Told("{name} updated[: {change}]", "{n} image updated", "{n} images updated", _POLICY),
    Kind.UPDATE_AVAILABLE: Told(
        "{name} has an update[: {change}]",
        "{n} update available",
        "{n} updates available",
        _POLICY,
        "This entry is only watched (`update: []`): change the version in Git, or list under `update` where to write",
        still="still not taken since {since}",
    ),
    Kind.UPDATE_HELD: Told(
        "{name}[ {change}] held[: {reason}]",
        "{n} update held",
        "{n} updates held",
        _DETAILS,
        still="still held since {since}",
    ),
    Kind.UPDATE_FAILED: Told(
        "{name} could not be updated[: {change}]",
        "{n} failed",
        "{n} failed",
        _ERROR,
        "It is tried again by itself; if it lasts, `updater check[ {command}] --diff` shows what would be written",
        still=_FAILING,
    ),
    Kind.UPDATE_UNREFERENCED: Told(
        "{name} is mentioned by no file in Git",
        "{n} image mentioned by no file",
        "{n} images mentioned by no file",
        _DETAILS,
        "Mention it in Git, or remove its entry; `updater find` lists every reference",
        still="still mentioned nowhere since {since}",
    ),
    Kind.SCAN_FAILED: Told(
        "{name} could not be scanned",
        "{n} scan failed",
        "{n} scans failed",
        _ERROR,
        "It is tried again by itself; if it lasts, check the registry's credentials with `updater check[ {command}]`",
        still=_FAILING,
    ),
    Kind.SCAN_RECOVERED: Told("{name} is scanned again", "{n} scan recovered", "{n} scans recovered", _EARLIER),
    Kind.PUSH_REJECTED: Told(
        "Push[ to {branch}][ of {repository}] was refused",
        "{n} push refused",
        "{n} pushes refused",
        _ERROR,
        "Let the updater push[ to {branch}][ of {repository}], or set `write_back`",
        still="still refused since {since}",
    ),
    Kind.PULL_REQUEST_OPENED: Told(
        "Pull request opened: {name}[ {change}]",
        "{n} pull request opened",
        "{n} pull requests opened",
        _POLICY,
        "Review the pull request, and merge or close it",
        link=_PULL_REQUEST,
        still="still open since {since}",
    ),
    Kind.PULL_REQUEST_MERGED: Told(
        "Pull request merged: {name}[ {change}]",
        "{n} pull request merged",
        "{n} pull requests merged",
        _DETAILS,
        link=_PULL_REQUEST,
    ),
    Kind.PULL_REQUEST_CLOSED: Told(
        "Pull request closed without merging: {name}[ {change}]",
        "{n} pull request closed",
        "{n} pull requests closed",
        _DETAILS,
        "Updates go on with a newer version, or now with `updater resume NAME`",
        link=_PULL_REQUEST,
    ),
    Kind.HUMAN_ROLLBACK: Told(
        "{name} was taken back[ to {old}] by a person[, {new} is held]",
        "{n} image rolled back by a person",
        "{n} images rolled back by a person",
        _DETAILS,
        "Updates go on with a newer version, or now with `updater resume {command}`",
        still="still held since {since}",
    ),
    Kind.HOLD_EXPIRED: Told(
        "The hold of {name} has ended, updates go on", "{n} hold ended", "{n} holds ended", _DETAILS
    ),
    Kind.MOVED_TAG: Told(
        "{name}[ {change}] held: the tag was pushed again with other content",
        "{n} tag pushed again",
        "{n} tags pushed again",
        _DETAILS,
        "Find out why it was pushed again; then `updater approve {command}`, or set `moved_tag: follow`",
        still="still held since {since}",
    ),
    Kind.FLAPPING: Told(
        "{name}[ {change}] held: its version goes back and forth",
        "{n} image going back and forth",
        "{n} images going back and forth",
        _DETAILS,
        "Look for another updater that writes to the same place",
        still="still held since {since}",
    ),
    Kind.REALM_UNTRUSTED: Told(
        "{registry} wants its credentials sent to[ {new},] a host that is not trusted: they were not sent",
        "{n} login host not trusted",
        "{n} login hosts not trusted",
        _DETAILS,
        "If the host is right, add it to `trusted_realms` of the registry",
        still="still not trusted since {since}",
    ),
    Kind.SYNC_STARTED: Told("Sync of {name}[ to {cluster}] started", "{n} sync started", "{n} syncs started", _DETAILS),
    Kind.SYNC_SUCCEEDED: Told(
        "Sync of {name}[ to {cluster}] succeeded", "{n} sync succeeded", "{n} syncs succeeded", _DETAILS
    ),
    Kind.SYNC_FAILED: Told(
        "Sync of {name}[ to {cluster}] failed",
        "{n} sync failed",
        "{n} syncs failed",
        _ERROR,
        "Mend what the error names; `updater sync {command}` tries it now",
        still=_FAILING,
    ),
    Kind.OUT_OF_SYNC: Told(
        "{name}[ in {cluster}] differs from Git",
        "{n} application out of sync",
        "{n} applications out of sync",
        _DETAILS,
        "`updater diff {command}` shows the difference, `updater sync {command}` ends it",
        still="still out of sync since {since}",
    ),
    Kind.HEALTH_DEGRADED: Told(
        "{name}[ in {cluster}] is degraded",
        "{n} application degraded",
        "{n} applications degraded",
        _DETAILS,
        "Look at the application; if the last update is the cause, `updater rollback` goes back",
        still="still degraded since {since}",
    ),
    Kind.HEALTH_RECOVERED: Told(
        "{name}[ in {cluster}] is healthy again", "{n} application recovered", "{n} applications recovered", _EARLIER
    ),
    Kind.CLUSTER_UNREACHABLE: Told(
        "Cluster {cluster} cannot be reached",
        "{n} cluster unreachable",
        "{n} clusters unreachable",
        _ERROR,
        "Check the cluster, the network and the kubeconfig; nothing is synced there until then",
        still="still unreachable since {since}",
    ),
    Kind.CLUSTER_RECOVERED: Told(
        "Cluster {cluster} can be reached again", "{n} cluster recovered", "{n} clusters recovered", _EARLIER
    ),
    Kind.CLUSTERS_DIFFER: Told(
        "{name} is not the same in every cluster",
        "{n} application differs between clusters",
        "{n} applications differ between clusters",
        _DETAILS,
        "`updater apps --differ` shows where",
        still="still different since {since}",
    ),
    Kind.CONFIG_REJECTED: Told(
        "The new configuration was rejected, the old one stays in use",
        "{n} configuration rejected",
        "{n} configurations rejected",
        _ERROR,
        "Correct it: `updater validate` shows every mistake and where it is",
        still="still rejected since {since}",
    ),
}

_BACK = Told(
    "{name} rolled back[: {change}]",
    "{n} image rolled back",
    "{n} images rolled back",
    _DETAILS,
    "It is on hold: `updater resume {command}` lets it go on",
)

_REASONS = {
    "up_to_date": Reasoned("nothing newer"),
    "no_match": Reasoned("no tag is what the policy wants", "Check `policy` and `tags`: `updater explain {command}`"),
    "older": Reasoned("every tag that the policy wants is older"),
    "level": Reasoned("above the allowed level", "Approve it once with `updater approve {command}`, or raise `level`"),
    "ambiguous": Reasoned(
        "so many major versions ahead that it may be a stray tag",
        "Approve it with `updater approve {command}`, exclude it in `tags`, or raise `max_major_step`",
    ),
    "min_age": Reasoned("not old enough yet"),
    "platform_missing": Reasoned(
        "a platform is missing", "Have it built for every platform, or say in `platforms` which are needed"
    ),
    "moved_tag": Reasoned(
        "the tag points to something else than when it was first seen",
        "Find out why it was pushed again; then `updater approve {command}`, or set `moved_tag: follow`",
    ),
    "unverified": Reasoned(
        "its signature could not be verified", "Sign the image, or correct who signs it in `verify`"
    ),
    "not_mirrored": Reasoned(
        "not yet under every name that Git uses",
        "Copy the tag to the mirror, or drop `must_exist` of the alias",
    ),
    "held": Reasoned("a person put it on hold", "`updater resume {command}` lets it go on"),
    "suspended": Reasoned("suspended in the configuration", "Remove `suspend` to let it go on"),
    "window_closed": Reasoned("outside the update windows"),
    "incomplete_scan": Reasoned("the registry's list of tags is not complete"),
    "stale_scan": Reasoned("the last complete scan is too long ago"),
    "human_rollback": Reasoned(
        "a person went back from this version",
        "Updates go on with a newer version, or now with `updater resume {command}`",
    ),
    "human_edit": Reasoned(
        "a person changed what the updater had proposed",
        "Finish or close the pull request; `updater resume {command}` lets the updater go on",
    ),
    "flapping": Reasoned(
        "the updater itself left this version a short while ago",
        "Look for another updater that writes to the same place",
    ),
    "unparsable_current": Reasoned(
        "what Git holds now is no version for this policy", "A person sets the first version in Git"
    ),
    "contested": Reasoned(
        "several entries claim the same reference",
        "Narrow `image` or `paths` until one entry owns it; `updater find` shows the places",
    ),
    "not_referenced": Reasoned("no file in Git mentions it", "Mention it in Git, or remove its entry"),
    "not_writable": Reasoned(
        "the text in Git cannot be changed safely",
        "Change the version there by hand, or write it as a plain value; `updater find` says what is in the way",
    ),
    "awaiting_merge": Reasoned("its pull request waits to be merged", "Review the pull request, and merge or close it"),
    "pull_request_closed": Reasoned(
        "a person closed its pull request", "Updates go on with a newer version, or now with `updater resume {command}`"
    ),
}

ENGLISH = Words(
    kinds=_KINDS,
    back=_BACK,
    reasons=_REASONS,
    labels=Labels(
        image="Image",
        change="Version",
        where="Where",
        digest="Digest",
        registry="Registry",
        application="Application",
        project="Project",
        cluster="Cluster",
        images="Images",
        applications="Applications",
        objects="Objects",
        commit="Commit",
        template="Template",
        see_commit="View commit",
        see_notes="Release notes",
        see_page="Details",
    ),
    still="still so since {since}",
    at="[{files} in ]{repository}[, branch {branch}]",
    some="{count} places, e.g. {first}",
    more="{listed} and {count} more",
    group="{summary} ({about})",
    comma=", ",
    listing=", ",
    aside=" ({})",
    unused="not used: {why}",
    held_one="1 event was held back since {since}; see updater notify queue",
    held_many="{count} events were held back since {since}; see updater notify queue",
    test_title="Test message from updater to {channel}",
    test_note="This is only a test: messages reach this channel. Sent {at}.",
)
