"""The words of commits and of messages, and operators' templates for them (later those of pull requests). Pure."""
