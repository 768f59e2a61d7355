"""The endpoint: manager, launcher and user endpoint."""
