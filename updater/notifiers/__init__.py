"""Services that carry messages, one file a kind. They send what they are handed, and read the answer."""
