"""Sync: what differs, what is done about it and in which order, and whether it is done now. It asks no cluster."""
