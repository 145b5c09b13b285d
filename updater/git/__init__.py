"""Git through one hardened runner: clones, reads, commits, pushes. Decides nothing."""
