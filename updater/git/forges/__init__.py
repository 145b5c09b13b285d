"""Forges, one file a kind: what they do for a repository beyond Git."""
