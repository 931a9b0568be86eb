"""`python -m docs.generate`, or `make docs`: writes the made parts of the pages anew."""

from __future__ import annotations

from docs.generate.pages import DOCS, PAGES, renewed


def main() -> None:
    for name, make in PAGES.items():
        page = DOCS / name
        old = page.read_text("utf-8")
        new = renewed(old, make())
        if new != old:
            page.write_text(new, "utf-8")
            print(f"docs/{name} is written anew")


if __name__ == "__main__":
    main()
