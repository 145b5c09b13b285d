"""Loop one, one file a verb: find, scan, decide, edit, commit; update.py is the whole."""
