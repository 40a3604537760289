"""Every page of a list is read."""

from __future__ import annotations

from typing import Any

from orc_repro.tracking.paging import every, pages


class Page(list[int]):
    token: str | None = None


def search(first: int, page_token: str | None = None) -> Page:
    """Seven numbers, three a page."""
    start = int(page_token or 0)
    page = Page(range(first + start, first + min(start + 3, 7)))
    page.token = str(start + 3) if start + 3 < 7 else None
    return page


def test_a_list_is_read_to_its_last_page() -> None:
    assert list(pages(search, 10)) == [[10, 11, 12], [13, 14, 15], [16]]
    assert list(every(search, 10)) == list(range(10, 17))


def test_no_page_is_asked_for_that_nobody_needs() -> None:
    asked: list[Any] = []

    def counted(page_token: str | None = None) -> Page:
        asked.append(page_token)
        return search(0, page_token)

    assert next(every(counted)) == 0
    assert asked == [None]
