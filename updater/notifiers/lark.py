"""Lark: Feishu's service outside of China."""

from __future__ import annotations

from typing import ClassVar, Literal

from updater.notifiers.feishu import OpenPlatform


class Lark(OpenPlatform):
    """A custom robot of a Lark group."""

    kind: Literal["lark"] = "lark"
    public: ClassVar[str] = "https://open.larksuite.com/open-apis/bot/v2/hook/{token}"
