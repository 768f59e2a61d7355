"""The REST interface: parse, ask, answer. No rule of the domain stands here."""
