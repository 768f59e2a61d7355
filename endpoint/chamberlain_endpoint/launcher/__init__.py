"""The launcher: root's power behind a closed table of requests, without a network."""
