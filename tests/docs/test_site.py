"""The documents as a site: built strictly, complete, and loading nothing from elsewhere."""

import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from lxml import html
from typer.core import TyperGroup

from schemas.topics import TOPICS
from streams.cli import app
from streams.settings import Settings
from tests.streams.console.browser import browser, chromium

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that it was built into; strict, so every link and anchor leads somewhere."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def anchors(site, page):
    """The ids on a page."""
    return set(html.parse(site / page / "index.html").xpath("//@id"))


def command_paths(command, path):
    """Yield the words of every command that `--help` lists, and of its subcommands."""
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            if not child.hidden:
                yield f"{path}-{name}"
                yield from command_paths(child, f"{path}-{name}")


def test_every_command_setting_and_topic_is_there(site):
    """Made when the site is built, so never out of date."""
    assert set(command_paths(typer.main.get_command(app), "redlane")) <= anchors(site, "commands")
    settings = (site / "settings" / "index.html").read_text()
    assert all(f"<code>REDLANE_{name.upper()}</code>" in settings for name in Settings.model_fields)
    assert TOPICS.keys() <= anchors(site, "asyncapi")
    assert (site / "asyncapi.yaml").read_bytes() == (ROOT / "docs" / "asyncapi.yaml").read_bytes()


def test_a_page_loads_nothing_from_elsewhere(site):
    """No font, script, style or picture of another host, and a policy that would refuse them."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        tree = html.parse(page)
        loaded = tree.xpath("//@src | //@srcset | //link/@href | //form/@action")
        loaded += re.findall(r"url\(([^)]*)\)", " ".join(tree.xpath("//@style | //style/text()")))
        assert loaded
        assert not [url for url in loaded if re.match(r"\W*(https?:)?//", url)], page
        assert not tree.xpath("//*[contains(@class, 'mermaid')]"), "drawn by a script of a CDN"
        (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
        assert policy.startswith("default-src 'self';")


def test_a_link_to_code_leads_to_a_page_that_shows_it(site):
    """What has no page of its own gets one."""
    (shown,) = html.parse(site / "observability" / "index.html").xpath(
        "//a[text()='streams/metrics.py']/@href"
    )
    assert shown == "../source/streams/metrics.py/"
    page = html.parse(site / "source" / "streams" / "metrics.py" / "index.html")
    code = "".join(page.xpath("//code//text()"))
    assert code.strip() == (ROOT / "streams" / "metrics.py").read_text().strip()


@pytest.mark.heavy  # a browser
async def test_the_search_finds_without_the_internet(site):
    """In the browser, from what was built; and the policy refuses nothing of the pages' own."""
    if chromium() is None:
        assert "CI" not in os.environ, "CI must have chromium: apt-get install chromium"
        pytest.skip("there is no chromium: apt-get install chromium")
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        async with browser(chromium()) as new_tab:
            tab = await new_tab()
            await tab.open(f"http://127.0.0.1:{server.server_port}/")
            await tab.do("document.querySelector('.md-search__input').focus()")
            await tab.send("Input.insertText", text="heat map")
            await tab.until("document.querySelector('.md-search-result__item a[href*=inspectors]')")
            assert tab.errors == []
        server.shutdown()
