"""MkDocs' hooks: pages from outside docs/, generated pages, and links between all of them.

Links are written for readers of the repository, relative to the file that they stand in. In the
site a link to a file from which a page is made leads to that page; a link to any other file or
folder of the repository, to a page that shows it.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import asyncapi_page  # noqa: E402 - beside this file
import commands_page  # noqa: E402
import settings_page  # noqa: E402

COPIED: Final[Mapping[str, str]] = {
    "README.md": "start.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "models/MODEL_CARD.md": "model-card.md",
    "streams/console/web/static/redlane.svg": "site/redlane.svg",
}
"""Files of the repository outside docs/ → pages and files of the site."""
GENERATED: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "streams/cli": ("commands.md", commands_page.markdown),
    "streams/settings.py": ("settings.md", settings_page.markdown),
    "docs/asyncapi.yaml": ("asyncapi.md", asyncapi_page.markdown),
}
"""Files and folders of the repository → the page that is made of each."""
LINK: Final = re.compile(r"(?<=\]\()([^)#\s:]+)((?:#[^)\s]*)?)(?=\))")
"""Target and anchor of a link that has no scheme."""
SHOWN: Final = {".md", ".png", ".svg"}
"""Files of docs/ that a browser shows as they are; a program there gets a page like any other."""
LANGUAGES: Final = {".avsc": "json", "": "docker"}
"""Of files whose ending is not the name of their language."""


def on_config(config: MkDocsConfig) -> None:
    """Replace a folder in the navigation by its pages."""
    config.nav = list(_expanded(config.nav or []))


def _expanded(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        title, value = next(iter(item.items())) if isinstance(item, dict) else (None, item)
        if isinstance(value, str) and value.endswith("/"):
            names = sorted(path.name for path in (ROOT / "docs" / value).glob("*.md"))
            names.sort(key=lambda name: name != "README.md")
            value = [f"{value}{name}" for name in names]
        elif isinstance(value, list):
            value = list(_expanded(value))
        yield {title: value} if title else value


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of docs/."""
    for path, uri in COPIED.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    for uri, markdown in GENERATED.values():
        files.append(File.generated(config, uri, content=markdown()))
    pages = [file for file in files.documentation_pages() if file.src_uri not in _made()]
    linked = {
        target
        for file in pages
        for link in LINK.finditer(file.content_string)
        if (target := _target(file.src_uri, link[1])) and not _page_of(target, files)
    }
    for target in sorted(linked):
        for shown in _shown(ROOT / target):
            uri = _source_uri(shown.relative_to(ROOT).as_posix())
            if files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, content=_source(shown)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to their pages."""
    del config
    here = page.file.src_uri
    if page.parent is None and not here.startswith("source/"):
        page.meta["hide"] = ["navigation"]  # a tab of one page has nothing to choose from
    if here in _made():
        return markdown

    def led(link: re.Match[str]) -> str:
        target = _target(here, link[1])
        if target is None:
            return link[0]  # MkDocs says that it leads nowhere
        uri = _page_of(target, files) or _source_uri(target)
        return relpath(uri, PurePosixPath(here).parent.as_posix()) + link[2]

    return LINK.sub(led, markdown)


def _made() -> set[str]:
    """Return the generated pages, whose links are the site's already."""
    return {uri for uri, _ in GENERATED.values()}


def _target(uri: str, link: str) -> str | None:
    """Return the path in the repository that a page's link leads to, if there is such a file."""
    origins = {page: path for path, page in COPIED.items()}
    origin = PurePosixPath(origins.get(uri, f"docs/{uri}"))
    path = normpath(origin.parent / link)
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def _page_of(path: str, files: Files) -> str | None:
    """Return the page or file of the site that is made of a path in the repository."""
    if path in COPIED:
        return COPIED[path]
    if path in GENERATED:
        return GENERATED[path][0]
    file = files.get_file_from_path(path.removeprefix("docs/"))
    return file.src_uri if file is not None and PurePosixPath(path).suffix in SHOWN else None


def _source_uri(path: str) -> str:
    return f"source/{path}.md" if (ROOT / path).is_file() else f"source/{path}/index.md"


def _shown(path: Path) -> Iterator[Path]:
    """Yield what gets a page with a file or folder: itself, and the files in the folder."""
    yield path
    if path.is_dir():
        yield from (child for child in sorted(path.iterdir()) if child.is_file())


def _source(path: Path) -> str:
    """Return the page that shows a file, or lists a folder."""
    name = path.relative_to(ROOT).as_posix()
    head = f"---\nsearch: {{exclude: true}}\nhide: [toc]\n---\n# {name}\n\n"
    if path.is_dir():
        return head + "".join(
            f"- [{child.name}]({child.name}.md)\n" for child in _shown(path) if child != path
        )
    language = LANGUAGES.get(path.suffix, path.suffix.removeprefix("."))
    return f"{head}````{language}\n{path.read_text()}\n````\n"
