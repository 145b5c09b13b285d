"""Webhooks: what registries and forges send when something changed, as hints to look now. Pure."""
