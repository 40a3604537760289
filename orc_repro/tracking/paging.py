"""Lists that MLflow returns in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def pages(search: Callable[..., Any], *arguments: Any) -> Iterator[list[Any]]:
    """Yield each page that a search of ``MlflowClient`` returns, until there is no other.

    Args:
        search: such as ``client.search_runs``; it takes ``page_token``.
        arguments: what it is called with for every page.
    """
    token = None
    while True:
        page = search(*arguments, page_token=token)
        yield list(page)
        token = page.token
        if not token:
            return


def every(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Yield every entity of a search, whatever the size of a page; see :func:`pages`."""
    for page in pages(search, *arguments):
        yield from page
