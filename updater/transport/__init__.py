"""What every effect shares: HTTP, child processes and pace."""
