"""From a signed statement to the name of a local account."""
