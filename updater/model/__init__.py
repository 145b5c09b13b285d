"""The nouns: frozen values that flow through both loops. No behaviour beyond reading and spelling themselves."""
