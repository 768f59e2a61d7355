"""Booted Debian hosts on this machine: hub, login node and compute nodes, for tests and play."""
