"""How Sphinx builds the documentation: `make docs`.

Its source is the root of the repository, so that a link between README, CONTRIBUTING and these pages leads to the same
file on the web, in an editor and here.
"""

import contextlib
import io
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from audio_tokens.jobs import cli

ROOT = Path(__file__).parents[1]

project = "audio-tokens"
author = "the audio-tokens authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "docs/*.ipynb", "*.md", "benchmarks/README.md", "benchmarks/results/*.md"]
exclude_patterns = [".venv", "work", "build", "dist", "docs/_build"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 900  # a cell, on a machine that is busy
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # bars

default_role = "literal"  # docstrings write `name`
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"audio-tokens {release}"
html_copy_source = False


class CommandHelp(Directive):
    """`help` with some words: what `audio-tokens WORDS --help` prints, as it stands."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = self.arguments[0].split()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            cli.main([*words, "--help"])
        text = printed.getvalue().replace("\b", "")  # which joins two words on a terminal
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> None:
    app.add_directive("help", CommandHelp)
