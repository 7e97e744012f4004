"""Argument types of the command line, and a parser that reports an error in one sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import NoReturn

from rarl.errors import ArgumentError

MOST = 2**31 - 1
"""The largest count or size that is taken: what every library below can hold."""

_MOST_SEED = 2**32 - 1


class Parser(argparse.ArgumentParser):
    """A parser that refuses an argument by one line on standard error and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong without the usage, and end."""
        line = " ".join(message.split())
        sys.stderr.write(f"{self.prog}: {line}; --help lists the arguments.\n")
        sys.exit(2)


def whole_number(lowest: int = 0, highest: int = MOST) -> Callable[[str], int]:
    """An argument's type: a whole number within bounds."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(
                f"{_short(text)} is not a whole number from {lowest} to {highest}"
            )
        return number

    return read


def real_number(lowest: float = 0.0, highest: float = 1e6) -> Callable[[str], float]:
    """An argument's type: a finite number within bounds."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not isfinite(number) or not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(
                f"{_short(text)} is not a number from {lowest:g} to {highest:g}"
            )
        return number

    return read


seed_number = whole_number(0, _MOST_SEED)
"""An argument's type: a seed that NumPy and torch both take."""


def check_text(arguments: argparse.Namespace) -> None:
    """Refuse text that is not in the encoding of the terminal's locale; paths may be any bytes.

    Raises:
        ArgumentError: an argument holds bytes that are no text here.
    """
    for value in vars(arguments).values():
        words = value if isinstance(value, list) else [value]
        for word in words:
            if isinstance(word, str) and not _is_text(word):
                raise ArgumentError(
                    "An argument is not text in UTF-8; set the terminal and its locale (LANG) to "
                    "UTF-8 and type it again."
                )


def check_output_folder(path: Path, option: str = "--out") -> None:
    """Refuse a folder to be written that is a file, or lies where nothing can be made.

    Raises:
        ArgumentError: as said; the sentence names the option.
    """
    try:
        if path.exists() and not path.is_dir():
            raise ArgumentError(f"{option} names a file; give a folder that is new or empty.")
        nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        usable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except (OSError, ValueError, StopIteration):
        usable = False
    if not usable:
        raise ArgumentError(f"{option} cannot be written; give a folder in a place you may write.")


def _short(text: str) -> str:
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    return repr(shown.encode("ascii", "backslashreplace").decode())


def _is_text(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in word
