"""Renderers: what Git holds for an application becomes manifests. They decide nothing, and no cluster is asked.

`front` is the way in: it chooses a renderer, and remembers what was rendered from the same files. `files` is one commit
with its links followed; `tools` starts the programs that some renderers need, shut off from everything else.
"""
