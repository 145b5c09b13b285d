"""Logins at Git remotes, one file a kind."""
