"""How user endpoints run: the port, the process runtime, and the fake that ships."""
