"""Hooks of mkdocs: pages that are generated, and links to files outside docs/."""

import re

import api_pages
import entry_pages
import outside
from mkdocs.structure.files import File


def on_files(files, config):
    """Add the pages of entries, of the API, and of each file outside docs/ that a page links to."""
    pages = {**entry_pages.pages(), **api_pages.PAGES}
    pages |= outside.pages([file.src_uri for file in files if file.src_uri.endswith(".md")], pages)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to files outside docs/ lead to their generated pages."""
    return outside.relinked(markdown, page.file.src_uri)


def on_page_content(html, page, config, files):
    """Nothing of a file's path on the machine of the build is in a page."""
    return re.sub(re.escape(str(outside.ROOT)) + "/?", "", html)
