"""Editors: where YAML mentions images, and the bytes to change. Pure: text in, places and edits out."""
