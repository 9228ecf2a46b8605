import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.commands.template import Template
from contextkernel.errors import TemplateProblem

DATA = {
    "Id": "sha256:abc",
    "Size": 72776453,
    "Ratio": 0.5,
    "On": True,
    "Off": False,
    "Nil": None,
    "Config": {
        "Env": ["PATH=/bin", "LANG=C"],
        "Cmd": None,
        "Labels": {"b": "2", "a.b": "1"},
        "Volumes": None,
        "Entrypoint": ["echo", "a b"],
    },
    "RootFS": {"Type": "layers", "Layers": ["sha256:1", "sha256:2"]},
    "Mounts": [{"Source": "/a"}, {"Source": "/b"}],
    "Label": lambda name: {"x": "1"}.get(name, ""),
    "Empty": [],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain }} text", "plain }} text"),
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Id }}-{{.Size}}", "sha256:abc-72776453"),
        ("{{.Config.Env}}", "[PATH=/bin LANG=C]"),
        ("{{.Config.Labels}}", "map[a.b:1 b:2]"),
        ("{{.Config.Cmd}}|{{json .Config.Cmd}}", "[]|null"),
        ("{{.Config.Volumes}}|{{json .Config.Volumes}}", "map[]|null"),
        ("{{.Nil}}", "<nil>"),
        ("{{.On}} {{.Off}} {{.Ratio}}", "true false 0.5"),
        ("{{.Config.Labels.b}} {{.Config.Labels.missing}}", "2 <no value>"),
        ('{{index .Config.Labels "a.b"}}{{index .Config.Labels "none"}}', "1"),
        ("{{index .RootFS.Layers 1}}", "sha256:2"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ("{{json .RootFS.Layers}}", '["sha256:1","sha256:2"]'),
        ("{{json .Config.Entrypoint}}", '["echo","a b"]'),
        ("{{.RootFS | json}}", '{"Type":"layers","Layers":["sha256:1","sha256:2"]}'),
        ("{{len .Config.Env}}{{len .Id}}{{len .Config.Labels}}", "2102"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<PATH=/bin><LANG=C>"),
        ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}", "0=PATH=/bin;1=LANG=C;"),
        ("{{range $e := .Config.Env}}{{$e}};{{end}}", "PATH=/bin;LANG=C;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}", "a.b:1 b:2 "),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Env}}{{$.Id}} {{end}}", "sha256:abc sha256:abc "),
        ("{{range .Config.Env}}{{.}}{{break}}{{end}}", "PATH=/bin"),
        ('{{range .Config.Env}}{{if eq . "LANG=C"}}{{continue}}{{end}}{{.}}{{end}}', "PATH=/bin"),
        ("{{range $i := 3}}{{$i}}{{end}}", "012"),
        ("{{if .On}}yes{{else}}no{{end}}{{if .Off}}yes{{else}}no{{end}}", "yesno"),
        ('{{if eq .Size 1}}a{{else if eq .Id "sha256:abc"}}b{{else}}c{{end}}', "b"),
        ("{{if .Nil}}a{{else if .Off}}b{{else}}c{{end}}", "c"),
        ("{{with .Config.Env}}{{index . 0}}{{else}}none{{end}}", "PATH=/bin"),
        ("{{with $x := .Id}}{{$x}}{{end}}", "sha256:abc"),
        ("{{$x := 1}}{{if .On}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if .On}}{{$y := 2}}{{$y}}{{end}}{{$x}}", "21"),
        ("{{$n := 0}}{{range .Config.Env}}{{$n = len .}}{{end}}{{$n}}", "6"),
        ('{{upper "ab"}}{{lower "AB"}}{{title "ab cd"}}', "ABabAb Cd"),
        ('{{join .Config.Env ","}}', "PATH=/bin,LANG=C"),
        ('{{join .RootFS.Layers " " | printf "%.10s"}}', "sha256:1 s"),
        ('{{index (split .Id ":") 1}}', "abc"),
        ("{{.Id | printf `%-12s|`}}", "sha256:abc  |"),
        (
            '{{printf "%d %05d %x %q %v %t %.2f %%" 3 42 255 "a\\"b" .Config.Env true 1.5}}',
            '3 00042 ff "a\\"b" [PATH=/bin LANG=C] true 1.50 %',
        ),
        ('{{printf "%d" .Id}}', "%!d(sha256:abc)"),
        ('{{printf "%s"}}{{printf "a" 1}}', "%!s(MISSING)a%!(EXTRA 1)"),
        ('{{print 1 2 "a" 3}}{{println "x" 1}}', "1 2a3x 1\n"),
        ("{{pad .Id 1 2}}|{{truncate .Id 3}}", " sha256:abc  |sha"),
        ("{{and .On .Id}} {{or .Off .Nil .Id}} {{not .On}}", "sha256:abc sha256:abc false"),
        ("{{lt 1 2}}{{ge 1 2}}{{ne 1 2}}", "truefalsetrue"),
        ('{{eq .Id "a" "sha256:abc"}}', "true"),
        ("{{slice .Id 0 6}}{{slice .Id 6}}", "sha256:abc"),
        ('{{.Label "x"}}', "1"),
        ("a {{- .Id -}} b", "asha256:abcb"),
        ("a{{/* said */}}b {{- /* said */ -}} c", "abc"),
        ('{{"\\t"}}{{`\\t`}}{{"\\u00e9\\x41"}}', "\t\\téA"),
        ("{{'a'}}{{0x10}}{{1.5}}{{nil}}", "97161.5<nil>"),
        ("{{true}}{{false}}", "truefalse"),
    ],
)
def test_templates(template, text):
    assert Template(template).render(DATA) == text


@pytest.mark.parametrize(
    ("template", "column", "text"),
    [
        ("{{.Confg.Env}}", 3, 'no field "Confg"'),
        ("ab {{.Config.Envs}}", 13, 'no field "Envs"'),
        ("{{.Nil.X}}", 7, "nil data"),
        ("{{.Id.X}}", 6, "can't evaluate"),
        ("{{.Id", 1, "unclosed action"),
        ("{{", 1, "unclosed action"),
        ("{{}}", 1, "missing value"),
        ("{{if .Id}}", 3, "no {{end}}"),
        ("{{end}}", 3, "unexpected {{end}}"),
        ("{{else}}", 3, "unexpected {{else}}"),
        ("{{if .On}}{{else}}{{else}}{{end}}", 21, "a second else"),
        ("{{jsn .Id}}", 3, 'function "jsn" not defined'),
        ("{{Id}}", 3, 'function "Id" not defined'),
        ("{{index .RootFS.Layers 9}}", 3, "out of range"),
        ("{{upper 1}}", 3, "wants text"),
        ("{{upper}}", 3, "cannot be used with 0"),
        ('{{.Id "x"}}', 3, "can't give argument"),
        ("{{$x}}", 3, "undefined variable"),
        ("{{'ab}}", 3, "no closing quote"),
        ("{{.Id | }}", 7, "missing value"),
        ("{{(.Id}}", 3, "unclosed left parenthesis"),
        ("{{.Id)}}", 6, "unexpected ')'"),
        ("{{template `x`}}", 3, "not supported"),
        ("{{break}}", 3, "outside of range"),
        ("{{range .Id}}{{end}}", 9, "can't iterate"),
        ("{{#}}", 3, "unexpected '#'"),
        ('{{"\\q"}}', 4, "unknown escape"),
        ('{{lt 1 "a"}}', 3, "incompatible types"),
        ('{{printf "%99999d" 1}}', 3, "too wide"),
        ("{{range 2000000}}{{end}}", 9, "too many"),
    ],
)
def test_problems_have_a_column(template, column, text):
    with pytest.raises(TemplateProblem) as caught:
        Template(template).render(DATA)
    assert text in caught.value.problem
    assert caught.value.span is not None
    assert caught.value.span.column == column
    try:
        Template(template)
    except TemplateProblem:
        assert caught.value.exit_code == 64
    else:  # it is a template, and does not fit
        assert caught.value.exit_code == 1


def test_the_nearest_field_is_the_hint():
    with pytest.raises(TemplateProblem) as caught:
        Template("{{.Confg}}").render(DATA)
    assert caught.value.hint == "did you mean .Config?"


def test_place_in_a_second_line():
    with pytest.raises(TemplateProblem) as caught:
        Template("{{.Id}}\n {{.No}}").render(DATA)
    assert (caught.value.span.line, caught.value.span.column) == (2, 4)


def test_deep_nesting_is_a_problem_not_a_crash():
    with pytest.raises(TemplateProblem):
        Template("{{" + "(" * 5000 + ".Id" + ")" * 5000 + "}}")


def problem_of(source):
    try:
        Template(source).render(DATA)
    except TemplateProblem as problem:
        return problem
    return None


PIECES = [
    "{{",
    "}}",
    ".Id",
    "json ",
    "range ",
    "if ",
    "end",
    "else",
    "$x",
    ":=",
    "|",
    "(",
    ")",
    '"a"',
    "`",
    " ",
    "-",
    "index ",
    ".Config",
    "1",
    ",",
    "printf ",
    "%d",
    "'",
    "/*",
    "*/",
    "with ",
    "é",
    "\n",
    "len ",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=12))
def test_any_text_renders_or_is_a_template_problem(pieces):
    problem = problem_of("".join(pieces))
    if problem is not None:
        assert problem.span is not None
        assert problem.lines()


@given(st.text(alphabet=st.characters(exclude_characters="{}")))
def test_text_without_actions_is_itself(text):
    assert Template(text).render(DATA) == text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{json .State.Health}}", "null"),
        ("{{if .State.Health}}checked{{else}}unchecked{{end}}", "unchecked"),
        ("{{.Config.StopTimeout}} [{{.Config.StopSignal}}] {{.Config.Shell}}", "<nil> [] []"),
        ("{{json .Config.Healthcheck}} {{len .Config.ExposedPorts}}", "null 0"),
        ("{{.HostConfig.Sysctls}} {{json .HostConfig.Init}}", "map[] null"),
        ("{{.Architecture}}/{{.Variant}} {{.Manifests}} {{json .Manifests}}", "arm64/ [] null"),
    ],
)
def test_fields_that_docker_leaves_out_when_they_are_empty_are_there_all_the_same(template, expected):
    document = {"State": {"OOMKilled": False}, "Config": {"AttachStdin": False}, "HostConfig": {"LogConfig": {}}}
    document |= {"Architecture": "arm64", "RootFS": {}}
    assert Template(template).render(document) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{range .Mounts}}[{{.Name}}|{{.Driver}}|{{.Source}}]{{end}}", "[||/tmp]"),
        ("{{range .Asked}}{{.Source}}|{{.ReadOnly}}|{{.VolumeOptions}}{{end}}", "|false|<nil>"),
        ("{{.Volume.Status}} {{json .Volume.UsageData}}", "map[] null"),
        ("{{.Network.Peers}} {{range .Network.IPAM}}{{.IPRange}}|{{.AuxAddress}}{{end}}", "[] |map[]"),
        ("{{.Endpoint.Aliases}} {{json .Endpoint.Links}} {{.Endpoint.DriverOpts}}", "[] null map[]"),
    ],
)
def test_small_structures_have_their_empty_fields_too(template, expected):
    document = {
        "Mounts": [{"Type": "bind", "Source": "/tmp", "RW": False}],
        "Asked": [{"Type": "tmpfs", "Target": "/t"}],
        "Volume": {"Mountpoint": "/v"},
        "Network": {"Ingress": False, "IPAM": [{"Subnet": "10.5.0.0/24"}]},
        "Endpoint": {"Aliases": None, "Links": None, "DriverOpts": None},
    }
    assert Template(template).render(document) == expected


def test_such_a_field_is_unknown_elsewhere():
    with pytest.raises(TemplateProblem, match="Health"):
        Template("{{.Health}}").render({"Id": "x"})
