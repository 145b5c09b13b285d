"""The front door for people: one module a command group."""
