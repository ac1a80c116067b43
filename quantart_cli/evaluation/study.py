"""A blind pairwise study: two outputs of one content and style side by side, and the scores of the votes.

Each comparison is shown twice with its sides swapped. An answer counts when both showings agree; the others are
inconsistent and are dropped. This module is pure: pictures are JPEG bytes, votes are text, and no file is touched.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from quantart_cli.errors import QuantArtError

QUESTIONS = ("better", "style", "content")
"""Which picture is better, is closer to the style, and keeps the content; columns of the votes."""

_BLOCK = 12  # comparisons shown before they are shown again: who stops early leaves complete answers
_Z = 1.959964  # of a 95 % interval
_TEMPLATE = Path(__file__).with_name("study.html")


Comparison = tuple[str, str, frozenset[str]]
"""Content, style, and the two systems."""


@dataclass(frozen=True)
class Trial:
    """One screen of the study: the names of the content, of the style, and of the systems left and right."""

    content: str
    style: str
    left: str
    right: str

    @property
    def comparison(self) -> Comparison:
        """What is compared: equal for both showings."""
        return self.content, self.style, frozenset((self.left, self.right))


@dataclass(frozen=True)
class Key:
    """What the page does not say.

    Attributes:
        study: identifier of the study, in the page and in its votes.
        trials: in the order of their numbers, which start at 1.
    """

    study: str
    trials: tuple[Trial, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def from_json(text: str, name: str = "the key") -> Key:
        """Read :meth:`to_json`.

        Raises:
            QuantArtError: the text is not the key of a study.
        """
        try:
            data = json.loads(text)
            return Key(str(data["study"]), tuple(Trial(**trial) for trial in data["trials"]))
        except (ValueError, TypeError, KeyError):
            raise QuantArtError(f"{name} is not the key of a study: give the .key.json beside the page") from None


def make_trials(items: Sequence[tuple[str, str]], systems: Sequence[str], seed: int) -> list[Trial]:
    """All comparisons of two systems on each (content, style), each twice, with sides swapped.

    Sides and order are random. A comparison is not shown twice in a row when there are several.

    Args:
        items: names of content and style.
        systems: two or more names.
        seed: the same arguments give the same trials.
    """
    rng = random.Random(seed)
    comparisons = [
        Trial(content, style, *rng.sample(pair, 2)) for content, style in items for pair in combinations(systems, 2)
    ]
    rng.shuffle(comparisons)
    trials: list[Trial] = []
    for start in range(0, len(comparisons), _BLOCK):
        first = comparisons[start : start + _BLOCK]
        again = [Trial(each.content, each.style, each.right, each.left) for each in first]
        rng.shuffle(again)
        if again[0].comparison == first[-1].comparison:
            again.append(again.pop(0))
        trials += first + again
    return trials


def make_page(
    trials: Sequence[Trial],
    contents: Mapping[str, bytes],
    styles: Mapping[str, bytes],
    outputs: Mapping[tuple[str, str, str], bytes],
) -> tuple[str, Key]:
    """One HTML file that shows the trials, and the key to its votes.

    The page holds no names. Its pictures are in the order of their hashes, so that their order says nothing.

    Args:
        trials: of :func:`make_trials`.
        contents, styles: JPEG files by name.
        outputs: JPEG files by content, style and system.
    """
    shown = [
        (
            contents[t.content],
            styles[t.style],
            outputs[t.content, t.style, t.left],
            outputs[t.content, t.style, t.right],
        )
        for t in trials
    ]
    pictures = sorted({picture for four in shown for picture in four}, key=lambda data: hashlib.sha256(data).digest())
    numbers = {picture: number for number, picture in enumerate(pictures)}
    rows = [[numbers[picture] for picture in four] for four in shown]
    study = hashlib.sha256(b"".join(pictures) + json.dumps(rows).encode()).hexdigest()[:12]
    urls = [f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
    data = json.dumps({"study": study, "trials": rows, "pictures": urls}, separators=(",", ":"))
    return _TEMPLATE.read_text("utf-8").replace("/*DATA*/null", data), Key(study, tuple(trials))


@dataclass(frozen=True)
class Answer:
    """One person's answers to one trial.

    Attributes:
        voter: random identifier of a browser.
        trial: its number, from 1.
        winners: question -> the side chosen, "left" or "right".
    """

    voter: str
    trial: int
    winners: Mapping[str, str]


def read_votes(text: str, key: Key, name: str = "the votes") -> list[Answer]:
    """Read a CSV file that the page saved.

    Raises:
        QuantArtError: it is not one, or its votes belong to another study.
    """
    answers = []
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    for number, row in enumerate(rows, 2):
        if row.get("study") not in (None, key.study):
            raise QuantArtError(f"{name}, line {number}: votes of study {row['study']}, but the key is of {key.study}")
        try:
            trial = int(row["trial"])
            winners = {question: row[question] for question in QUESTIONS}
            if row["study"] is None or not row["voter"] or not 1 <= trial <= len(key.trials):
                raise ValueError
            if not set(winners.values()) <= {"left", "right"}:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise QuantArtError(f"{name}, line {number}: not a vote; give a CSV file that the page saved") from None
        answers.append(Answer(row["voter"], trial, winners))
    return answers


@dataclass(frozen=True)
class Rate:
    """How often one system won against another, or against all others.

    Attributes:
        system, other: names; other is None for all others together.
        wins, count: consistent answers for the system, and all consistent answers.
        rate, low, high: share of wins, None without answers, and its 95 % Wilson interval, which takes answers as
            independent.
    """

    system: str
    other: str | None
    wins: int
    count: int
    rate: float | None
    low: float
    high: float


@dataclass(frozen=True)
class QuestionScore:
    """Result of one question.

    Attributes:
        rates: of every two systems, then of each system against all others.
        bradley_terry: system -> log strength, mean 0: the odds that i beats j are exp(score_i - score_j).
        consistent: comparisons answered alike in both showings.
        inconsistent: comparisons answered differently, which are dropped.
        incomplete: comparisons answered once, which are dropped too.
        inconsistent_share: of the comparisons answered twice; None when there are none.
    """

    question: str
    rates: tuple[Rate, ...]
    bradley_terry: dict[str, float]
    consistent: int
    inconsistent: int
    incomplete: int
    inconsistent_share: float | None


def score_votes(answers: Iterable[Answer], key: Key) -> list[QuestionScore]:
    """Scores of each question. A trial that one voter answered several times counts once, with the last answer."""
    latest = {(answer.voter, answer.trial): answer for answer in answers}
    return [_score_question(question, latest.values(), key) for question in QUESTIONS]


def _score_question(question: str, answers: Iterable[Answer], key: Key) -> QuestionScore:
    systems = sorted({name for trial in key.trials for name in (trial.left, trial.right)})
    winners: dict[tuple[str, Comparison], list[str]] = defaultdict(list)
    for answer in answers:
        trial = key.trials[answer.trial - 1]
        winner = trial.left if answer.winners[question] == "left" else trial.right
        winners[answer.voter, trial.comparison].append(winner)
    wins = np.zeros((len(systems), len(systems)), int)
    consistent = inconsistent = 0
    for (_, (_, _, pair)), both in winners.items():
        if len(both) == 2 and both[0] == both[1]:
            (loser,) = pair - {both[0]}
            wins[systems.index(both[0]), systems.index(loser)] += 1
            consistent += 1
        elif len(both) == 2:
            inconsistent += 1
    rates = [
        *(_rate(systems[i], systems[j], wins[i, j], wins[j, i]) for i, j in combinations(range(len(systems)), 2)),
        *(_rate(name, None, wins[i].sum(), wins[:, i].sum()) for i, name in enumerate(systems)),
    ]
    return QuestionScore(
        question,
        tuple(rates),
        dict(zip(systems, bradley_terry(wins).tolist(), strict=True)),
        consistent,
        inconsistent,
        len(winners) - consistent - inconsistent,
        inconsistent / (consistent + inconsistent) if consistent + inconsistent else None,
    )


def _rate(system: str, other: str | None, wins: int, losses: int) -> Rate:
    count = int(wins + losses)
    return Rate(system, other, int(wins), count, float(wins / count) if count else None, *wilson(int(wins), count))


def wilson(wins: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) without answers."""
    if count == 0:
        return 0.0, 1.0
    share, z2 = wins / count, _Z**2 / count
    middle, half = share + z2 / 2, _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Log strengths of maximum likelihood, mean 0, by the MM algorithm (Hunter 2004, equation 3).

    The maximum exists when every system can be reached from every other through wins. When it does not, half a win is
    added to each side of every two systems.

    Args:
        wins: (n, n), how often i beat j.

    Returns:
        (n,) float64.
    """
    size = len(wins)
    reached = np.linalg.matrix_power(((wins > 0) | np.eye(size, dtype=bool)).astype(float), size) > 0
    if not reached.all():
        wins = wins + 0.5 * (1 - np.eye(size))
    games, strength = wins + wins.T, np.ones(size)
    for _ in range(10_000):
        previous = strength
        strength = wins.sum(1) / (games / (strength[:, None] + strength)).sum(1)
        strength = strength / np.exp(np.log(strength).mean())
        if np.abs(np.log(strength / previous)).max() < 1e-10:
            break
    return np.log(strength)
