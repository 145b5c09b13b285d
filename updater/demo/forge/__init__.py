"""A forge on loopback: pull requests of GitHub, GitLab or Gitea over real bare Git repositories.

Branches, heads and merges are those of Git: what is pushed moves a request, and what is merged is a commit on the
target. Requests, labels, reviewers and checks live in memory. The shapes of questions and answers are those of the
public documentation of the three, as far as pull requests need them; it knows nothing of our own clients.

Left out: users and their rights (a token may do everything), forks, drafts, reviews themselves, protected branches
beyond one required check, web pages, webhooks, rate limits of their own (a script answers in their place), and every
field that has nothing to do with a pull request. Auto-merge waits for `Hosted.settle` to say how the checks ended.
"""

from updater.demo.forge.door import App
from updater.demo.forge.repository import Hosted, Pull
from updater.demo.forge.server import Asked, StandIn

__all__ = ["App", "Asked", "Hosted", "Pull", "StandIn"]
