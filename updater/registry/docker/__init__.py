"""What Docker keeps of logins: its config.json, and the programs that it names."""
