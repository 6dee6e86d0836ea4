"""What all tests of live data share."""

import ssl
from functools import cache

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_context():
    """Make the certificates of TLS be read once and not by each client: nothing here is encrypted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield
