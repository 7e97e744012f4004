"""The table of blind votes on the Results page."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from demo.context import QUIET
from demo.pages.components import panel
from demo.pages.render import label_of
from demo.services.asking import log_fault
from demo.services.flagging import Desk
from demo.templating import render_template
from rarl.errors import RarlError
from rarl.review import ReviewStore
from rarl.stats.bradley_terry import Ballot, Rating, bradley_terry

# Below so many votes a rating says more of chance than of the variants.
FEWEST = 10


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
            return render_template("results/votes.html", trouble=str(error))
        except Exception as error:
            log_fault("votes", error)
            sentence = "The votes cannot be read just now."
            return render_template("results/votes.html", trouble=sentence)

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
    few = votes < FEWEST
    how = (
        f"Ratings need {FEWEST} votes; there {'is' if votes == 1 else 'are'} {votes}."
        if few
        else f"Bradley-Terry from {votes} votes, with 95 % intervals by bootstrap over cases."
    )
    rows = [
        {
            "label": label_of(rating.arm),
            "chance": "–" if few else _chance(rating),
            "best": rating.best,
            "votes": rating.votes,
        }
        for rating in ratings
    ]
    return render_template("results/votes.html", trouble="", ratings=rows, how=how)


def _chance(rating: Rating) -> str:
    interval = "" if rating.low is None else f" [{rating.low:.0%}, {rating.high:.0%}]"
    return f"{rating.chance:.0%}{interval}"
