"""The look of everything this package shows in a notebook: one style sheet, scoped by class names, and escaping.

Colours come from JupyterLab's theme variables, with fallbacks that read well on light and dark ground; borders and
grounds are translucent greys for the same reason. Code hosts strip the style sheet: the markup below it is tables,
``pre`` and ``details``, which read well without.
"""

from __future__ import annotations

import html

_OK = "var(--jp-success-color1, #2e9b4f)"
_BAD = "var(--jp-error-color1, #d9433b)"
_WARN = "var(--jp-warn-color1, #c77700)"
_BUSY = "var(--jp-brand-color1, #2f7fd6)"
_MUTED = "var(--jp-ui-font-color2, #808080)"
_MONO = "var(--jp-code-font-family, ui-monospace, monospace)"
_LINE = "rgba(128, 128, 128, .28)"
_GROUND = "rgba(128, 128, 128, .09)"

STYLE = f"""<style>
.ck {{ font-size: var(--jp-ui-font-size1, 13px); line-height: 1.45; }}
div.ck :not(pre) > code, div.ck pre {{ font-family: {_MONO}; font-size: .95em; color: inherit;
  background: none !important; padding: 0 !important; }}
.ck-muted {{ color: {_MUTED}; }}
.ck-box {{ border: 1px solid {_LINE}; border-left: 3px solid {_BUSY}; border-radius: 4px; margin: 2px 0; }}
.ck-box.ck-done {{ border-left-color: {_OK}; }} .ck-box.ck-failed {{ border-left-color: {_BAD}; }}
.ck-box.ck-interrupted {{ border-left-color: {_WARN}; }}
.ck-head {{ padding: 5px 10px; background: {_GROUND}; }}
.ck-head b {{ margin-right: .3em; }}
.ck-foot {{ padding: 4px 10px; border-top: 1px solid {_LINE}; }}
.ck-head, .ck-foot, .ck-bad {{ overflow-wrap: anywhere; }}
.ck div.ck-head code, .ck div.ck-foot code {{ white-space: pre-wrap; }}
.ck-badge {{ border: 1px solid currentColor; border-radius: 8px; padding: 0 7px; margin-left: .5em; font-size: .9em;
  white-space: nowrap; }}
.ck-ok {{ color: {_OK}; }} .ck-bad {{ color: {_BAD}; }} .ck-warn {{ color: {_WARN}; }} .ck-busy {{ color: {_BUSY}; }}
.ck table.ck-steps {{ width: 100%; margin: 0; border-collapse: collapse; border: 0; table-layout: auto;
  font-size: inherit; }}
.ck table.ck-steps td {{ text-align: left; vertical-align: top; padding: 3px 10px; border: 0; white-space: normal;
  max-width: none; background: none; }}
.ck table.ck-steps tr {{ background: none; }}
.ck table.ck-steps tr + tr:not(.ck-more) td {{ border-top: 1px solid {_LINE}; }}
.ck table.ck-steps tr.ck-more td {{ padding-top: 0; }}
.ck table.ck-steps td.ck-mark {{ width: 1em; padding-right: 0; text-align: center; }}
.ck table.ck-steps td.ck-num {{ white-space: nowrap; width: 1%; color: {_MUTED}; }}
.ck table.ck-steps td.ck-time {{ white-space: nowrap; width: 1%; text-align: right; font-family: {_MONO}; }}
.ck table.ck-layers {{ width: auto; }}
.ck table.ck-steps table.ck-layers tr + tr:not(.ck-more) td, .ck table.ck-layers tr + tr:not(.ck-more) td {{
  border-top: 0; }}
.ck table.ck-layers td {{ padding-top: 1px; padding-bottom: 1px; white-space: nowrap; }}
.ck table.ck-steps code {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.ck table.ck-layers code {{ white-space: nowrap; overflow-wrap: normal; }}
div.ck pre.ck-log {{ margin: 2px 0; padding: 5px 8px !important; max-height: 24em; overflow: auto;
  background: {_GROUND} !important; font-size: .9em;
  border-radius: 3px; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.35; }}
.ck summary {{ cursor: pointer; color: {_MUTED}; }}
.ck-bar {{ display: inline-block; height: .75em; vertical-align: baseline; min-width: 2px; }}
.ck-bar-shared {{ background: {_MUTED}; opacity: .55; }} .ck-bar-unique {{ background: {_BUSY}; }}
.ck table.ck-table {{ border-collapse: collapse; font-size: inherit; margin: 2px 0; }}
.ck table.ck-table th, .ck table.ck-table td {{ text-align: left; padding: 3px 10px 3px 8px; vertical-align: top;
  white-space: nowrap; max-width: none; }}
.ck table.ck-table th {{ border-bottom: 1px solid {_LINE}; font-weight: 600; }}
.ck table.ck-table .ck-r {{ text-align: right; }}
.ck table.ck-table td.ck-wrap {{ white-space: normal; overflow-wrap: anywhere; min-width: 16em; max-width: 44em; }}
.ck table.ck-table td.ck-narrow {{ white-space: normal; min-width: 9em; }}
.ck table.ck-table td.ck-mono {{ font-family: {_MONO}; font-size: .95em; }}
.ck details.ck-doc {{ margin-left: 1.2em; }} .ck-doc > summary {{ margin-left: -1.2em; }}
div.ck code.ck-key {{ color: var(--jp-mirror-editor-property-color, {_BUSY}) !important; }}
div.ck code.ck-str {{ color: var(--jp-mirror-editor-string-color, {_OK}) !important; }}
.ck-leaf {{ overflow-wrap: anywhere; }}
</style>"""
"""About 3 kB; part of every view, because a saved output must stand alone."""


def escape(text: object) -> str:
    """``text`` as HTML text or attribute value; every string that a build, image or container gave goes through it."""
    return html.escape(str(text), quote=True)


def wrap(body: str) -> str:
    """``body`` (safe HTML) in the scope that :data:`STYLE` applies to.

    The two other classes are MathJax's (versions 3 and 2): without them a front end takes what stands between the
    dollar signs of two variables for a formula.
    """
    return f'{STYLE}<div class="ck mathjax_ignore tex2jax_ignore">{body}</div>'
