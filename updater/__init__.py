"""Image updater: a new tag in a registry becomes a commit of a few bytes in Git, and what is in Git goes to clusters.

The floors; imports only go down, rooms with `|` between them do not know each other (checked by import-linter):

    7  cli                     the front door for people
       demo                    the whole path on one machine; the tests use its servers too
    6  daemon                  makes every client, turns the clock
    5  pipeline                look, find -> scan, facts -> decide, resolve -> edit -> commit; update.py is loop one
                               study.py learns and decides of each registry apart
                               catalogue, sources -> compare -> apply; deliver.py is loop two, announce.py tells of it
                               tell -> route -> notify: what changed, who is told, until it is there
    4  config                  the operator's YAML as typed values, errors with file:line:column
    3  registry | git | renderers | cluster | notifiers | store    effects: the only rooms with windows
       transport               what they share: http, process, pace, lock
    2  policies | editors | messages | sync | health   decisions: values in, values out
    1  plugins > model > secrets > errors

A plural folder is a family: `base.py` holds the base class and a member is one file, whose name is its `kind`.
Adding a member touches nothing else.
"""

__version__ = "0.1.0"
