"""What the theme loads on every page and nobody needs there is left out of the built pages.

- FontAwesome's script, 1.5 MB: it draws the icons as SVG, and without it the theme's style sheet draws the same ones
  from a web font a tenth of that size. The theme has no setting for it: its line is taken out of the written pages.
- MathJax where there is no formula: jupyter-book loads it everywhere.
- The search index on pages that do not search: the theme loads it for results as one types, which is off.
- Source maps, which only whoever debugs the theme reads.
- Sphinx-thebe's start buttons are off here, but its two constants, with a remote address in them, are on every page,
  twice, which is an error in the browser's console.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

UNUSED = re.compile(
    r"\s*<script[^>]*scripts/fontawesome\.js[^>]*></script>"
    r"|\s*<script>const THEBE_JS_URL.*?</script>"
    r"|\s*<script[^>]*_static/sphinx-thebe\.js[^>]*></script>",
    re.DOTALL,
)

INDEX = re.compile(r'\s*<script src="(_static/(searchtools|language_data)|searchindex)\.js[^"]*"[^>]*></script>')


def only_where_used(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Load what extensions bring on the pages that use it; jupyter-book asks for it on all."""
    app.set_html_assets_policy("per_page")
    return []


def lighten(app: Sphinx, failed: Exception | None) -> None:
    """Take what is unused out of the pages and off the disk."""
    if failed or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in out.rglob("*.html"):
        whole = page.read_text(encoding="utf-8")
        lighter = UNUSED.sub("", whole) if page.stem == "search" else INDEX.sub("", UNUSED.sub("", whole))
        if lighter != whole:
            page.write_text(lighter, encoding="utf-8")
    for file in [*out.glob("_static/scripts/*.map"), *out.glob("_static/scripts/fontawesome.js*")]:
        file.unlink(missing_ok=True)  # one is of both kinds


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("env-updated", only_where_used)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
