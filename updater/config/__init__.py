"""The operator's YAML as typed values."""
