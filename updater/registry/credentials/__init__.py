"""Logins at registries, one file a kind."""
