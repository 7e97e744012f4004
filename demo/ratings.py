"""The table of blind votes, for the Results page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from demo.asking import log_fault
from demo.components import panel
from demo.flagging import Desk
from demo.parts import QUIET
from demo.render import label_of
from rarl.errors import RarlError
from rarl.review import ReviewStore
from rarl.stats.bradley_terry import Ballot, Rating, bradley_terry

_HEAD = '<h2 id="votes-title">Blind votes</h2>'


def votes_panel(desk: Desk, tab: gr.Tab) -> None:
    """The table at the end of a tab; read anew whenever the tab is looked at.

    Args:
        desk: the review store.
        tab: the tab it stands on.
    """
    table = panel(elem_id="votes")

    def read(request: gr.Request) -> str:
        try:
            ballots = blind_ballots(desk.for_request(request))
            return votes_table(bradley_terry(ballots), len(ballots))
        except RarlError as error:
            return f"{_HEAD}<p>{escape(str(error))}</p>"
        except Exception as error:
            log_fault("votes", error)
            return f"{_HEAD}<p>The votes cannot be read just now.</p>"

    tab.select(read, None, table, **QUIET)


def blind_ballots(store: ReviewStore) -> tuple[Ballot, ...]:
    """The votes that were cast before the names of the arms were known.

    Raises:
        ReviewError: the person may not see votes, or the store cannot be read.
    """
    votes = store.votes()
    compared = store.compared(vote.case_id for vote in votes)
    return tuple(
        Ballot(
            vote.case_id,
            compared[vote.case_id],
            vote.preferred,
            vote.outcome in ("tie", "all-good"),
        )
        for vote in votes
        if vote.case_id in compared
    )


def votes_table(ratings: Sequence[Rating], votes: int) -> str:
    """HTML of the table.

    Args:
        ratings: best first.
        votes: how many votes they come from.
    """
    if not ratings:
        return (
            f'{_HEAD}<p class="nothing">No votes yet. Turn on Blind on the Ask page: you answer '
            "first, then choose the best of the lettered columns.</p>"
        )
    rows = "".join(
        f"<tr><th scope='row'>{escape(label_of(one.arm))}</th><td>{one.chance:.0%}"
        f"{f' [{one.low:.0%}, {one.high:.0%}]' if one.low is not None else ''}</td>"
        f"<td>{one.best}</td><td>{one.votes}</td></tr>"
        for one in ratings
    )
    return (
        f"{_HEAD}<table aria-labelledby='votes-title'><thead><tr><th scope='col'>Arm</th>"
        "<th scope='col'>Wins against an average arm</th><th scope='col'>Best</th>"
        f"<th scope='col'>Votes</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p>Bradley-Terry from {votes} votes, with 95 % intervals by bootstrap over cases where "
        "there are two or more. Readers chose what they asked: a preference among them, not a rate "
        "of errors.</p>"
    )
