"""The long-running process: makes every client and turns the clock."""
