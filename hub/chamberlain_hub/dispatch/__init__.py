"""What moves between the store and the broker: tasks out, results and heartbeats in."""
