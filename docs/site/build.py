"""`make docs`: the pages of this repository as a site, built strictly, with every link and anchor checked.

    python -m docs.site.build FOLDER

The pages stay plain Markdown that can be read where it lies. They are staged in one folder, as the site has
them; a link to a file that is no page becomes the file's name. The page of all commands is written from the
program.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs.site.reference import commands_page

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = Path(sys.executable).with_name("zensical")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")

SECTIONS: dict[str, list[str]] = {
    "Begin": ["index.md", "tutorial.md", "concepts.md", "howto.md", "faq.md"],
    "Seal": ["configuration.md", "sources.md", "tailing.md", "operation.md", "python.md"],
    "Keys": ["backends.md", "vault.md", "aws.md", "pkcs11.md", "rotation.md"],
    "Verify": [
        "verify.md",
        "auditors.md",
        "monitor.md",
        "archives.md",
        "scale.md",
        "trust.md",
        "proofs.md",
        "report.md",
        "witness.md",
        "reconcile.md",
    ],
    "Reference": ["commands.md", "cli.md", "format.md"],
    "Trust": [
        "threat-model.md",
        "limitations.md",
        "compliance.md",
        "comparison.md",
        "testing.md",
        "speed.md",
        "security.md",
        "versions.md",
    ],
}
"""Pages in the order in which somebody reads them; deploy/, decisions and the house follow by name."""


class SiteError(Exception):
    """The site is not as it has to be."""


def main() -> int:
    """Build it; 1 with every finding, if there is one."""
    target = Path(sys.argv[1]).resolve()
    try:
        with tempfile.TemporaryDirectory() as name:
            stage = Path(name)
            pages = stage_pages(stage / "docs")
            generate(stage, pages)
            links = check_links(stage / "site")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(stage / "site", target)
    except SiteError as exc:
        print(f"make docs: error: {exc}", file=sys.stderr)
        return 1
    print(f"make docs: {len(pages)} pages, {links} links checked: {os.path.relpath(target)}/index.html")
    return 0


def places() -> dict[str, str]:
    """Where each file of the repository that belongs to the site stands in it."""
    found = {
        "README.md": "index.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security.md",
        "CHANGELOG.md": "changelog.md",
    }
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in {".md", ".svg", ".png"}:
            found[path.relative_to(ROOT).as_posix()] = path.relative_to(ROOT / "docs").as_posix()
    for path in sorted((ROOT / "deploy").rglob("README.md")):
        folder = path.parent.relative_to(ROOT / "deploy").parts[0]
        found[path.relative_to(ROOT).as_posix()] = f"deploy/{folder}.md"
    return found


def stage_pages(folder: Path) -> list[str]:
    """Copy all of them, with links that fit their new places; the names of the pages."""
    known = places()
    for source, place in known.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if not source.endswith(".md"):
            shutil.copyfile(ROOT / source, target)
            continue
        text = (ROOT / source).read_text(encoding="utf-8")
        parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
        target.write_text(
            "".join(part if part.startswith("```") else _moved(part, source, known) for part in parts),
            encoding="utf-8",
        )
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
    return sorted(["commands.md", *(place for place in known.values() if place.endswith(".md"))])


def _moved(text: str, source: str, known: dict[str, str]) -> str:
    def move(found: re.Match[str]) -> str:
        image, label, link = found.groups()
        if urlsplit(link).scheme or link.startswith("#"):
            return found[0]
        name, _, section = link.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
        place = known.get(path) or known.get(f"{path}/README.md")
        if place is None:
            if not (ROOT / path).exists():
                raise SiteError(f"{source}: {link} leads nowhere")
            return f"{label} (`{path}`)" if path not in label else label
        moved = posixpath.relpath(place, posixpath.dirname(known[source]) or ".")
        return f"{image}[{label}]({moved}{'#' if section else ''}{section})"

    return LINK.sub(move, text)


def generate(stage: Path, pages: list[str]) -> None:
    """Have the site generator make HTML, strictly."""
    ordered = [name for names in SECTIONS.values() for name in names]
    if missing := set(ordered) - set(pages):
        raise SiteError(f"no such page: {', '.join(sorted(missing))}")
    rest = [name for name in pages if name not in ordered]
    sections = {
        **SECTIONS,
        "Deploy": [name for name in rest if name.startswith("deploy/")],
        "Decisions": [name for name in rest if name.startswith("decisions/")],
        "The house": [name for name in rest if "/" not in name],
    }
    settings = {
        "site_name": "epochseal",
        "docs_dir": "docs",
        "site_dir": "site",
        "use_directory_urls": False,
        "nav": [{title: names} for title, names in sections.items()],
        # Nothing is fetched from anywhere: no fonts, no repository's figures.
        "theme": {"name": "material", "font": False, "features": ["navigation.tabs", "content.code.copy"]},
        "markdown_extensions": ["tables", "fenced_code", "attr_list", {"toc": {"permalink": True}}],
    }
    # JSON is YAML.
    (stage / "mkdocs.yml").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    done = subprocess.run(
        [str(GENERATOR), "build", "--strict", "--clean", "-f", "mkdocs.yml"],
        cwd=stage,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise SiteError(f"zensical ended with {done.returncode}\n{done.stdout}{done.stderr}")


class _Page(HTMLParser):
    """The links and the anchors of one page of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) in {
                ("a", "href"),
                ("img", "src"),
                ("link", "href"),
                ("script", "src"),
            } and value:
                self.links.append(value)


def check_links(site: Path) -> int:
    """Follow every link within the site, to its file and its anchor; how many there are.

    Raises:
        SiteError: some lead nowhere, or a page loads something from elsewhere.
    """
    pages = {
        path: _Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"
    }
    wrong, count = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                wrong.append(f"{path.relative_to(site)}: {link}: no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{path.relative_to(site)}: {link}: no such anchor")
    if not count:
        raise SiteError("there is no link at all")
    if wrong:
        raise SiteError("\n".join(sorted(set(wrong))))
    return count


if __name__ == "__main__":
    sys.exit(main())
