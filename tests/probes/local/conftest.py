"""The demo's models on this machine, in float32, and texts of every domain."""

from collections.abc import Iterator

import pytest

from examples.texts import Domain, corpus
from monitor.probes.corpus import Corpus, Document
from monitor.probes.embedding import Dtype
from monitor.probes.local import LocalProbe
from tests.probes.local.probing import probing

TEXTS = tuple(text for domain in Domain for text in corpus(domain)[:14])


@pytest.fixture(scope="session")
def texts() -> tuple[str, ...]:
    return TEXTS


@pytest.fixture(scope="session")
def seventy() -> Corpus:
    documents = tuple(Document(id=f"d{i}", text=text) for i, text in enumerate(TEXTS))
    return Corpus(name="seventy", documents=documents)


@pytest.fixture(scope="session")
def ten(seventy: Corpus) -> Corpus:
    """Two of each domain, for what more texts would not show better."""
    return Corpus(name="ten", documents=seventy.documents[::7])


@pytest.fixture(scope="package")
def exact() -> Iterator[LocalProbe]:
    """Float32, so that numbers can be compared with a direct forward pass."""
    with probing(dtype=Dtype.FLOAT32) as probe:
        yield probe
