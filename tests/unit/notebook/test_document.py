"""Documents of inspect."""

from __future__ import annotations

import json

from contextkernel.notebook.document import Documents, to_html, to_text

DOCUMENT = {"Id": "sha256:00", "Config": {"Env": ["A=<b>"], "Cmd": None, "Labels": {}}, "Size": 1, "Open": False}


def test_it_is_a_list_of_dicts():
    documents = Documents([DOCUMENT])
    assert documents == [DOCUMENT]
    assert documents[0]["Config"]["Env"] == ["A=<b>"]
    assert json.loads(json.dumps(documents)) == [DOCUMENT]


def test_text_is_docker_s_json():
    assert repr(Documents([DOCUMENT])) == (
        '[\n    {\n        "Id": "sha256:00",\n        "Config": {\n            "Env": [\n                "A=<b>"\n'
        '            ],\n            "Cmd": null,\n            "Labels": {}\n        },\n        "Size": 1,\n'
        '        "Open": false\n    }\n]'
    )
    assert json.loads(to_text(Documents([DOCUMENT]))) == [DOCUMENT]


def test_html_folds_and_escapes():
    page = to_html(Documents([DOCUMENT]))
    assert page.count("<details") == page.count("</details>") == 4
    assert page.count('<details class="ck-doc" open>') == 4
    empty = to_html(Documents([{"ContainerConfig": {"Env": None, "Tty": False, "Labels": {}}, "Size": 1}]))
    assert '<details class="ck-doc"><summary><code class="ck-key">ContainerConfig' in empty
    assert "&quot;A=&lt;b&gt;&quot;" in page
    assert '<code class="ck-key">Cmd</code>: <code>null</code>' in page
    assert '<code class="ck-key">Labels</code>: <code>{}</code>' in page
    assert "<script" not in to_html([{"<script>": "<script>"}])
