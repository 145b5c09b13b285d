"""Kubernetes clusters: logging in, asking, applying, and keeping up with what is there; not what should be there.

The only room that imports the official client, which costs 20 MiB: it is loaded where a cluster is configured.
"""
