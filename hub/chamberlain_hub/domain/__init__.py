"""What the hub knows and decides: records and pure rules. No clock, disk, network or log."""
