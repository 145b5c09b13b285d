"""The whole path on one machine: an embedded registry and a Git server. Tests use both."""
