"""The hub's own keys, its signed statements about callers, and access tokens."""
