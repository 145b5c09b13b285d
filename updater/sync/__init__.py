"""Sync: windows now; plans of applications later."""
