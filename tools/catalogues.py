"""Writes the dashboard's catalogues anew: what the code says now, with the translations there are. `make locale`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).parent.parent / "src" / "catchment"
LOCALE = PACKAGE / "dashboard" / "locale"
METHODS = [("errors.py", "python"), ("dashboard/**.py", "python"), ("dashboard/templates/*.html", "jinja2")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "Refusal": (3,)}
OPTIONS = {"dashboard/templates/*.html": {"trim_blocks": "true", "lstrip_blocks": "true"}}
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)
"""A date in a catalogue would change it every time."""


def texts() -> Catalog:
    """Every text of the pages and of the refusals."""
    catalogue = Catalog(domain="dashboard", project="Catchment", creation_date=ALWAYS, fuzzy=False)
    found = extract_from_dir(PACKAGE, METHODS, OPTIONS, keywords=KEYWORDS)
    for _path, _line, message, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
        catalogue.add(message, auto_comments=comments, context=context)
    return catalogue


def main() -> None:
    wanted = texts()
    for folder in sorted(path for path in LOCALE.iterdir() if path.is_dir()):
        path = folder / "LC_MESSAGES" / "dashboard.po"
        with path.open("rb") as old:
            catalogue = read_po(old, locale=folder.name, domain="dashboard")
        catalogue.update(wanted, no_fuzzy_matching=True)
        catalogue.project, catalogue.fuzzy = "Catchment", False
        catalogue.creation_date = catalogue.revision_date = ALWAYS
        catalogue.header_comment = "# The texts of the dashboard."
        catalogue.obsolete.clear()
        with path.open("wb") as new:
            write_po(new, catalogue, width=110, no_location=True, ignore_obsolete=True)
        with path.with_suffix(".mo").open("wb") as compiled:
            write_mo(compiled, catalogue)


if __name__ == "__main__":
    main()
