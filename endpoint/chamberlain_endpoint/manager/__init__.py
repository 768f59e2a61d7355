"""The manager: talks to hub and broker, renders templates, asks the launcher. No privilege."""
