import pytest

from contextkernel.model.codec import to_json
from contextkernel.model.oci import ImageConfig, RootFS
from contextkernel.model.reference import ImageRef
from contextkernel.registry import repositories
from contextkernel.registry.push import push_image
from contextkernel.registry.retrying import Tries
from contextkernel.store import Store
from contextkernel.testing.registry import serve_registry
from contextkernel.testing.stores import InProcessLayerWorker


class Shop:
    """A store with images, and pushes from it.

    ``events`` are those of the last push; ``asked`` what the registry was asked for by it.
    """

    def __init__(self, store, registry):
        self.store, self.registry, self.worker = store, registry, InProcessLayerWorker()
        self.events = []

    def layer(self, content):
        directory = self.store.new_layer_dir()
        with open(f"{directory}/diff/file", "wb") as sink:
            sink.write(content)
        return self.store.add_layer(directory, self.worker.commit(directory))

    def image(self, name, *contents, architecture="amd64"):
        layers = tuple(self.layer(content).diff_id for content in contents)
        config = to_json(ImageConfig(architecture=architecture, os="linux", rootfs=RootFS("layers", layers)))
        return self.store.add_image(config, origin="build", names=[self.name(name)] if name else [])

    def name(self, text):
        return ImageRef.parse(f"{self.registry.address}/{text}")

    def push(self, text, image=None, **options):
        self.events.clear()
        self.registry.requests.clear()
        ref = self.name(text)
        image = image or self.store.resolve(str(ref))
        tries = Tries(sleep=lambda _seconds: None)
        repository = repositories(ref.registry, ref.repository, access="pull,push", tries=tries)[-1]
        report = options.pop("report", self.events.append)
        return push_image(self.store, self.worker, image, ref, repository, report=report, **options)

    def phases(self, layer=None):
        return [one.phase for one in self.events if layer is None or one.layer == layer.short]

    def asked(self, method):
        return [one.path for one in self.registry.requests if one.method == method]


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Nothing of the user's: neither logins nor settings nor proxies."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(tmp_path / "registries.toml"))


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def shop(tmp_path, registry):
    with Store.open(tmp_path / "store") as store:
        yield Shop(store, registry)
