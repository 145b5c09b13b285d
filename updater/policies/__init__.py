"""Policies: which tag is wanted. Pure: no clock, no network, no files."""
