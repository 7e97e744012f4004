"""Objects that all pages share, and helpers that register their events."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.authentication import read_sign_in
from demo.pages import render
from demo.services.agreed import Agreement
from demo.services.disk import Disk
from demo.services.downloads import Downloads
from demo.services.engine_loader import EngineLoader
from demo.services.examples import BUILT_IN, OpenedExample, open_examples, vqa_rad_rows
from demo.services.flagging import Desk
from demo.services.kept_sessions import KeptSessions, read_keep
from demo.services.pages import Pages
from demo.services.saved_sessions import SavedSessions, read_days
from demo.services.uploads import Uploads, private_cache
from demo.services.volumes import Budget
from demo.viewer import FrameServer
from rarl.inference.engine import Arm
from rarl.review.hub_copy import read_place
from rarl.review.store import store_folder
from rarl.scans.dicomweb import Pacs
from rarl.settings import read_settings

Update = dict[Any, Any]
Examples = dict[str, OpenedExample]

# Until the engine says what it offers.
_USUAL_ARMS = tuple(Arm(name, render.label_of(name), "") for name in ("base", "sft", "rl", "rarl"))
# UI events are not exposed in the API.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
NOW: dict[str, Any] = {**QUIET, "queue": False}
FOCUS = "() => document.querySelector('%s')?.focus()"
# A value of the page's modules, which may still be on their way when a button is pressed.
FROM_MODULES = "async () => { await pageModules; return %s; }"


@dataclass(frozen=True, slots=True)
class Parts:
    """What all handlers share, made once per app.

    Attributes:
        loader: the engine, or on its way.
        desk: the review store.
        examples: scans on offer, by key.
        cache: the private folder that uploads are written into.
        uploads: whose uploaded files are whose.
        keeper: sessions that outlive a reload.
        downloads: exports on their way to the browser.
        pacs: where studies may be fetched from, or None.
        frames: lets each page read the frames of its own scans.
        budget: of the memory for pixels.
        pages: the sessions of open pages, so that what they hold is let go of when they leave.
        disk: what uploads may write.
        agreement: what it is worth that variants agree.
        saved: sessions that readers have named, or None where none are saved.
    """

    loader: EngineLoader
    desk: Desk
    examples: Examples
    cache: Path
    uploads: Uploads
    downloads: Downloads
    keeper: KeptSessions
    pacs: Pacs | None = None
    frames: FrameServer = field(default_factory=FrameServer)
    budget: Budget = field(default_factory=Budget)
    pages: Pages = field(default_factory=Pages)
    disk: Disk = field(default_factory=Disk)
    agreement: Agreement = field(default_factory=Agreement)
    saved: SavedSessions | None = None

    def arms(self) -> tuple[Arm, ...]:
        """The arms on offer, or the usual ones while the engine is loading."""
        return self.loader.engine.arms if self.loader.engine else _USUAL_ARMS

    def labels(self) -> dict[str, str]:
        """Arm name to what the page calls it."""
        return {arm.name: arm.label for arm in self.arms()}


def make_parts(loader: EngineLoader | None = None) -> Parts:
    """The parts of an app; `launch` starts the loading unless a loader is handed in."""
    settings = read_settings()  # one that cannot be used is reported before anything starts
    keeper = KeptSessions(store_folder() / "sessions", read_keep())
    keeper.sweep()  # what expired while the app was not running
    days = read_days()
    saved = SavedSessions(store_folder() / "saved-sessions", days, keeper) if days else None
    if saved is not None:
        saved.sweep()
    cache = private_cache()
    return Parts(
        loader or EngineLoader(),
        Desk(sign_in=read_sign_in(), share=settings.audit_share, place=read_place()),
        open_examples((*BUILT_IN, *vqa_rad_rows())),
        cache,
        Uploads(cache),
        Downloads(cache),
        keeper,
        Pacs.from_settings(settings),
        saved=saved,
    )


def labelled(pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Gradio wants (label, value) where the taxonomy has (key, label)."""
    return [(label, key) for key, label in pairs]
