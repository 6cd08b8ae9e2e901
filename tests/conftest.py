"""Fixtures every test may ask for. Keys and certificates are made once per test run."""

import functools
from collections.abc import Callable, Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.mint import SigningKey
from tests.support.pki import Pki
from tests.support.processes import running_children

pytest_plugins = ["tests.real.fixtures"]

# What gates a change says the same of the same code, on any machine: the examples are the same each time, and none has
# a deadline (by default 200 ms, which a busy machine misses). `--hypothesis-profile default` looks for other examples.
settings.register_profile(
    "gate", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gate")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its child processes said."""
    report = yield
    if report.failed:
        report.sections += [
            (f"log of {child.name} {child.pid}", child.tail()) for child in running_children()
        ]
    return report


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Authorities, a server and the usual clients."""
    return Pki.create()


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    """The issuer's ES256 key, `kid` es256."""
    return SigningKey.create("ES256")


@pytest.fixture(scope="session")
def signing_keys() -> Callable[[str], SigningKey]:
    """The issuer's key for any algorithm by name, made once: `signing_keys("PS384")`."""
    return functools.cache(SigningKey.create)
