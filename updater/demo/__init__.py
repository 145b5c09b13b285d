"""The whole path on one machine: an embedded registry, a Git server, a sink for messages. Tests use them too."""
