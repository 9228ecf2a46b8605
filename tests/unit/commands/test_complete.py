import pytest

from contextkernel.commands.complete import complete


def after(line, engine):
    words = line.split()
    return complete([*words, ""] if not words or line.endswith(" ") else words, engine)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("im", ["image", "images", "import"]),
        ("image r", ["remove", "rm", "rmi"]),
        ("base ", ["ensure"]),
        ("help imag", ["image", "images"]),
        ("help image l", ["layers", "list", "load", "ls"]),
        ("run --na", ["--name"]),
        ("ps --f", ["--filter", "--format"]),
        ("run --network ", ["bridge", "host", "none", "web"]),
        ("run --restart on", ["on-failure"]),
        ("update --restart u", ["unless-stopped"]),
        ("run --log-driver j", ["json-file"]),
        ("run -v da", ["data:"]),
        ("create --volumes-from b", ["bozo"]),
        ("pull --platform linux/ar", ["linux/arm64"]),
        ("run --network=h", ["--network=host"]),
        ("build --progress=p", ["--progress=plain"]),
        ("build --call=o", ["--call=outline"]),
        ("build --output type=o", ["type=oci"]),
        ("build --cache-to ", ["type=inline", "type=local,dest=", "type=registry,ref="]),
        ("build --attest type=s", ["type=sbom"]),
        ("build --ch", ["--check"]),
        ("builder prune --filter un", ["until=", "unused-for="]),
        ("builder du --filter ty", ["type="]),
        ("run ", ["0badcafe0bad", "greet", "greet:latest", "greeting-c:v0.1", "ubuntu:20.04"]),
        ("run --rm greeting", ["greeting-c:v0.1"]),
        ("run -e A=1 u", ["ubuntu:20.04"]),
        ("run greet ", []),
        ("run greet --", []),
        ("rm ", ["bozo", "gallant_mendeleev", "vigilant_curie"]),
        ("rm bozo g", ["gallant_mendeleev"]),
        ("stop ", ["vigilant_curie"]),
        ("inspect b", ["bozo"]),
        ("inspect gre", ["greet", "greet:latest", "greeting-c:v0.1"]),
        ("images greet ", []),
        ("images -f d", ["dangling="]),
        ("ps -f a", ["ancestor="]),
        ("kill -s T", ["TERM"]),
        ("registry stop ", ["registry", "show"]),
        ("registry images sh", ["show"]),
        ("tag greet ubu", ["ubuntu:20.04"]),
        ("--roo", ["--root"]),
        ("--root /x im", ["image", "images", "import"]),
        ("nosuch ", []),
        ("nosuch x y", []),
        ("rm -- g", ["gallant_mendeleev"]),
    ],
)
def test_candidates(engine, line, words):
    assert after(line, engine) == words


def test_letters_are_offered_after_a_dash_alone(engine):
    assert "-a" in after("ps -", engine)
    assert "-a" not in after("ps --", engine)
    assert "--help" in after("ps -", engine)
    assert "--platform" not in after("run --p", engine)  # hidden


def test_paths(engine, tmp_path, monkeypatch):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "Dockerfile.dev").touch()
    (tmp_path / "file").touch()
    (tmp_path / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    assert after("build ", engine) == [".", "folder/"]
    assert after("build .h", engine) == [".hidden/"]
    assert after("build -f f", engine) == ["file", "folder/"]
    assert after("build -f folder/D", engine) == ["folder/Dockerfile.dev"]
    assert after("build --file=folder/D", engine) == ["--file=folder/Dockerfile.dev"]
    assert after("build nosuch/", engine) == []


def test_a_failing_engine_offers_nothing(engine):
    from contextkernel.errors import StoreProblem

    def fail():
        raise StoreProblem("broken")

    assert complete(["run", ""], fail) == []
    assert complete(["rm", ""], fail) == []
    assert complete([], engine)
