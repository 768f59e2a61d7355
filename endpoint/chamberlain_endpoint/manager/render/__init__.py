"""From the caller's options to a checked configuration, in a child process on a short leash."""
