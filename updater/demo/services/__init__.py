"""The services by their rules: what each of them takes, and in which words it refuses.

Rebuilt from the services' public documentation and from answers that people published; none of them was asked. Where
a code could only be guessed, a comment says so. Left out: IP allow-lists, moderation of contents, files and pictures,
editing and deleting, limits by group or chat where they differ from those by token, the finer rules of cards and
blocks, and how slow a real service is.
"""

from updater.demo.services import chats, hooks, robots
from updater.demo.services.base import Service

SERVICES: tuple[Service, ...] = (*robots.SERVICES, *chats.SERVICES, *hooks.SERVICES)
