"""The user endpoint: runs as the mapped account, takes tasks, never loses one."""
