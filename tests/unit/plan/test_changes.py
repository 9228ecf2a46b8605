import pytest

from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.oci import RunConfig
from contextkernel.plan.changes import apply_changes

CONFIG = RunConfig(env=("PATH=/bin", "A=1"), cmd=("old",), working_dir="/w", on_build=("RUN old",), user="1")


def test_no_change_changes_nothing():
    assert apply_changes(CONFIG, ()) is CONFIG


def test_every_instruction():
    config = apply_changes(
        CONFIG,
        [
            'CMD ["a", "b"]',
            "entrypoint echo $HOME",
            "ENV A=2 B=$A",
            "EXPOSE 80 53/udp",
            "LABEL x=y",
            "ONBUILD RUN new",
            "STOPSIGNAL INT",
            "USER bob",
            "VOLUME /v",
            "WORKDIR deep",
            "HEALTHCHECK NONE",
        ],
    )
    assert config.cmd == ("a", "b")
    assert config.entrypoint == ("/bin/sh", "-c", "echo $HOME")
    assert config.env == ("PATH=/bin", "A=2", "B=1")
    assert config.exposed_ports == {"80/tcp": {}, "53/udp": {}}
    assert config.labels == {"x": "y"}
    assert config.on_build == ("RUN old", "RUN new")
    assert (config.stop_signal, config.user, config.working_dir) == ("INT", "bob", "/w/deep")
    assert config.volumes == {"/v": {}}
    assert config.healthcheck is not None
    assert config.healthcheck.test == ("NONE",)


@pytest.mark.parametrize(
    "change", ["RUN x", "ADD a b", "COPY a b", 'SHELL ["a"]', "FROM x", "ARG x", "FOO", "", "ENV A=1\nRUN x"]
)
def test_refused(change):
    with pytest.raises(InvalidInput, match="is not a valid change command"):
        apply_changes(CONFIG, [change])


def test_an_instruction_that_is_wrong():
    with pytest.raises(DockerfileError):
        apply_changes(CONFIG, ["ENV"])


def test_a_change_adds_no_path():
    assert apply_changes(RunConfig(), ["CMD true"]).env is None
    assert apply_changes(RunConfig(), ["ENV A=1 B=2", "ENV C=$A$B"]).env == ("A=1", "B=2", "C=12")
    assert apply_changes(RunConfig(env=("PATH=/bin",)), ["ENV PATH=/x:$PATH"]).env == ("PATH=/x:/bin",)
