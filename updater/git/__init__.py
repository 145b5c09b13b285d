"""Git through one hardened runner: clones, reads, commits, pushes. Decides nothing.

`clone` is the front: it ties together `folder` and `lock` (where a clone lies), `remote` and `credentials` (where it
comes from), `runner` (every git process), and the texts that git reads and prints: `commit`, `blobs`, `push`, `log`.
"""
