"""The mark of the app, and the notice that every page of it bears."""

from __future__ import annotations

from markupsafe import Markup

LOGO = Markup(
    '<svg class="logo" viewBox="0 0 32 32" role="img" aria-label="RARL">\n<rect '
    'x="1" y="1" width="30" height="30" rx="8" class="logo-plate"/>\n<g '
    'fill="none" stroke-linecap="round" stroke-width="2.2">\n<path d="M16 '
    '6.5v19" class="logo-spine"/>\n<path d="M13 9.5C9.5 8.6 7.4 10 6.8 12.6M19 '
    '9.5c3.5-.9 5.6.5 6.2 3.1" class="logo-rib"/>\n<path d="M13 '
    '14.5c-4-.9-6.6.6-7.2 3.4M19 14.5c4-.9 6.6.6 7.2 3.4" '
    'class="logo-rib"/>\n<path d="M13 19.5c-3.8-.9-6 .4-6.5 3M19 19.5c3.8-.9 6 '
    '.4 6.5 3" class="logo-rib lit"/>\n</g></svg>'
)

FAVICON = (
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' "
    "height='32' rx='8' fill='%23131a1e'/%3E%3Cg fill='none' stroke-linecap='round' "
    "stroke-width='2.4' stroke='%23dfe7ea'%3E%3Cpath d='M16 6.5v19M13 9.5C9.5 8.6 7.4 "
    "10 6.8 12.6M19 9.5c3.5-.9 5.6.5 6.2 3.1M13 14.5c-4-.9-6.6.6-7.2 3.4M19 "
    "14.5c4-.9 6.6.6 7.2 3.4'/%3E%3Cpath stroke='%2370d6c4' d='M13 19.5c-3.8-.9-6 "
    ".4-6.5 3M19 19.5c3.8-.9 6 .4 6.5 3'/%3E%3C/g%3E%3C/svg%3E"
)

NOTICE = "Research use only. Not for diagnosis. Do not upload identifiable data."
