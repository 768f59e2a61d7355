"""The bare lab of the roles' tests, for three brokers."""

from tests.ansible.conftest import bare

__all__ = ["bare"]
