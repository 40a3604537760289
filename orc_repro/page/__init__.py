"""``reports/index.html``: every study on one page that loads nothing, from files alone.

No part of ``report/``, on which every study's ``report`` stage depends: the page is of all studies,
so none of them may own it.
"""
