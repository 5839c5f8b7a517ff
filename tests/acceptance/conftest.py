"""One service that several tests of a module ask things of."""

from collections.abc import Iterator

import pytest

from tests.service import CALM, Service, running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with ``support@v1`` registered and nothing else."""
    with running(tmp_path_factory.mktemp("service"), changes=CALM) as service:
        service.register("support", "v1")
        yield service
