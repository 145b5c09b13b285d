"""The front door for browsers, scripts and webhooks: one page, an API, hooks, metrics and probes.

    request -> guard (who is it, may it) -> page | api | hook -> facts (what there is) | deeds (what is to be done)

What is shown comes from the state and from the desk of the daemon; nothing here asks a registry or a remote, and GET
changes nothing.
"""
