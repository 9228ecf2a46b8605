import pytest

from contextkernel.store import Store
from contextkernel.testing.stores import InProcessLayerWorker


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def store(root):
    with Store.open(root) as opened:
        yield opened


@pytest.fixture
def worker():
    return InProcessLayerWorker()
