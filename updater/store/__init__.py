"""The state database: what must survive a restart. Git stays the only truth about versions."""
