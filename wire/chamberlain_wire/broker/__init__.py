"""The broker: one port, one RabbitMQ adaptor, one in-memory adaptor that ships for tests."""
