"""The commands of `chamberlain-hub`, and what they share."""
