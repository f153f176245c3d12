"""Hooks of mkdocs: pages that are generated, and links to files outside docs/."""

from urllib.parse import urlsplit

import api_pages
import entry_pages
import notebooks
import outside
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

SHIM = "https://unpkg.com/iframe-worker/shim"  # of the theme, for file://


def on_files(files, config):
    """Add the pages of entries, of the API, of notebooks, and of each file outside docs/ that a page links to."""
    pages = {**entry_pages.pages(), **api_pages.PAGES, **notebooks.pages()}
    pages |= outside.pages([file.src_uri for file in files if file.src_uri.endswith(".md")], pages)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for name in ("worker.js", "site.css"):
        text = (outside.ROOT / "scripts/site" / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"assets/{name}", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to files outside docs/ lead to their generated pages."""
    return notebooks.relinked(outside.relinked(markdown, page.file.src_uri))


def on_post_page(output, page, config):
    """The search of a site that is opened from a folder needs no script from a network."""
    return output.replace(SHIM, get_relative_url("assets/worker.js", page.url))


def on_post_template(output_content, template_name, config):
    """Likewise on the page of a missing address, which a server shows at any depth: from the root of the site."""
    root = urlsplit(config.site_url or "").path.rstrip("/")
    return output_content.replace(SHIM, f"{root}/assets/worker.js")
