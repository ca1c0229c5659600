"""The broker of these tests."""

from tests.broker.fixtures import broker as broker
