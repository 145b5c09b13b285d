"""The words of commits (later of pull requests and notifications). Pure."""
