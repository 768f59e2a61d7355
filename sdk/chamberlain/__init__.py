"""The researcher's side of Chamberlain: run functions on a cluster from a laptop."""
