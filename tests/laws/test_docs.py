"""The documentation is built without a warning, its tutorial runs, and its pages ask nothing of the network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_it_is_built(tmp_path: Path) -> None:
    site = tmp_path / "site"
    words = ["-q", "-W", "--keep-going", "-c", str(ROOT / "docs"), str(ROOT), str(site)]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {page.relative_to(site).as_posix(): page.read_text() for page in site.rglob("*.html")}
    assert "--recipe.kmeans.clusters" in pages["docs/commands.html"]
    assert "AudioTagger" in pages["docs/api.html"]
    tutorial = pages["docs/tutorial.html"]
    assert "400 clips written, 0 rejected" in tutorial
    assert tutorial.count("<audio") == 3
    assert [
        p for p, text in pages.items() if re.search(r"<(script|link|img)[^>]+(src|href)=\"(https?:)?//", text)
    ] == []
