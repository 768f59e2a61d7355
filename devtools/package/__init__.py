"""`./dev package`: wheels, Debian packages, an RPM, and a signed apt repository (ADR 0026)."""
