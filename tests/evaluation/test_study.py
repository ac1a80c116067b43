"""The study: its trials and page, and scores of votes whose results are known."""

import json
import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from quantart_cli.errors import QuantArtError
from quantart_cli.evaluation.study import (
    Answer,
    Key,
    Trial,
    bradley_terry,
    make_page,
    make_trials,
    read_votes,
    score_votes,
    wilson,
)

ITEMS = [("boats", "starry"), ("boats", "wave"), ("garden", "wave")]


@pytest.mark.parametrize(
    ("systems", "comparisons"), [(("a", "b"), 3), (("a", "b", "c"), 9), (("a", "b", "c", "d"), 18)]
)
def test_every_comparison_is_shown_twice_with_sides_swapped(systems, comparisons):
    trials = make_trials(ITEMS, systems, seed=0)
    assert len(trials) == 2 * comparisons
    assert set(Counter(trial.comparison for trial in trials).values()) == {2}
    assert len(set(trials)) == len(trials)  # so the second showing differs: its sides are swapped
    assert all(one.comparison != other.comparison for one, other in pairwise(trials))
    assert trials == make_trials(ITEMS, systems, seed=0) != make_trials(ITEMS, systems, seed=1)


def test_sides_are_random_and_early_leavers_have_answered_pairs():
    trials = make_trials([(str(i), "s") for i in range(200)], ("a", "b"), seed=3)
    halves = Counter(trial.comparison for trial in trials[:100])
    assert sum(count == 2 for count in halves.values()) >= 40
    first = {}
    for trial in trials:
        first.setdefault(trial.comparison, trial.left)
    assert 70 < Counter(first.values())["a"] < 130


def page_of(trials, salt=b""):
    def data(*names):
        return salt + "/".join(names).encode()[::-1]

    contents, styles = ({getattr(t, kind): data(getattr(t, kind)) for t in trials} for kind in ("content", "style"))
    outputs = {(t.content, t.style, s): data(t.content, t.style, s) for t in trials for s in (t.left, t.right)}
    return make_page(trials, contents, styles, outputs)


def test_page_has_no_names_and_asks_for_nothing_outside():
    trials = make_trials([("boats_at_sea", "starry_night")], ("quantart:fidelity=1", "other_tool"), seed=0)
    html, key = page_of(trials)
    for name in ("boats_at_sea", "starry_night", "other_tool", "fidelity"):
        assert name not in html
    assert not re.search(r"https?:|//[a-z]|src=|<link|@import|url\(", html)
    data = json.loads(re.search(r"const data = (.*);\n", html)[1])
    assert data["study"] == key.study
    assert len(data["trials"]) == len(trials) == 2
    assert len(data["pictures"]) == 4
    (c, s, left, right), second = data["trials"]
    assert second == [c, s, right, left]
    assert Key.from_json(key.to_json()) == key == Key(key.study, tuple(trials))


def test_studies_are_told_apart():
    trials = make_trials(ITEMS, ("a", "b"), seed=0)
    keys = {page_of(each, salt)[1].study for each in (trials, trials[::-1]) for salt in (b"", b"x")}
    assert len(keys) == 4


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"study": "a", "trials": [{"left": "a"}]}', "x"])
def test_other_files_are_no_key(text):
    with pytest.raises(QuantArtError, match="is not the key"):
        Key.from_json(text)


def key_of(*pairs):
    """A key with both showings of each pair of systems, on contents of their own."""
    trials = [Trial(str(number), "s", *sides) for number, pair in enumerate(pairs) for sides in (pair, pair[::-1])]
    return Key("k", tuple(trials))


def votes(key, *winners, voter="v"):
    """Both showings of each comparison answered with the same winner, or with two ("a/b"), or once ("a/")."""
    answers = []
    for number, winner in enumerate(winners):
        both = winner.split("/") if "/" in winner else (winner, winner)
        for trial, name in zip((2 * number + 1, 2 * number + 2), both, strict=True):
            if name:
                side = "left" if key.trials[trial - 1].left == name else "right"
                answers.append(Answer(voter, trial, dict.fromkeys(("better", "style", "content"), side)))
    return answers


def test_known_win_rate():
    key = key_of(*[("a", "b")] * 10)
    better, *_ = score_votes(votes(key, *"aaaaaaa", *"bbb"), key)
    rate = better.rates[0]
    assert (rate.system, rate.other, rate.wins, rate.count, rate.rate) == ("a", "b", 7, 10, 0.7)
    assert (rate.low, rate.high) == pytest.approx((0.3968, 0.8922), abs=1e-4)  # of Wilson's formula, by hand
    assert better.bradley_terry["a"] - better.bradley_terry["b"] == pytest.approx(math.log(7 / 3))
    assert sum(better.bradley_terry.values()) == pytest.approx(0)


def test_inconsistent_and_incomplete_answers_are_dropped():
    key = key_of(*[("a", "b")] * 6)
    score = score_votes(votes(key, "a", "a/b", "b/a", "a/", "b"), key)[1]
    assert (score.question, score.consistent, score.inconsistent, score.incomplete) == ("style", 2, 2, 1)
    assert score.inconsistent_share == 0.5
    assert (score.rates[0].wins, score.rates[0].count) == (1, 2)


def test_voters_are_separate_and_the_last_answer_counts():
    key = key_of(("a", "b"))
    both = [*votes(key, "a/", voter="x"), *votes(key, "/a", voter="y")]
    assert score_votes(both, key)[0].incomplete == 2
    again = [*votes(key, "a", voter="x"), *votes(key, "b", voter="x"), *votes(key, "b", voter="y")]
    score = score_votes(again, key)[0]
    assert (score.rates[0].wins, score.rates[0].count) == (0, 2)


def test_questions_are_scored_apart():
    key = key_of(("a", "b"))
    answers = [
        Answer("v", 1, {"better": "left", "style": "right", "content": "left"}),
        Answer("v", 2, {"better": "right", "style": "left", "content": "left"}),
    ]
    better, style, content = score_votes(answers, key)
    assert (better.rates[0].wins, style.rates[0].wins, content.inconsistent) == (1, 0, 1)
    assert content.rates[0].rate is None
    assert score_votes([], key)[0].inconsistent_share is None


def test_rates_against_all_others():
    key = key_of(("a", "b"), ("a", "c"), ("b", "c"))
    rates = score_votes(votes(key, "a", "a", "c"), key)[0].rates
    found = {(rate.system, rate.other): (rate.wins, rate.count) for rate in rates}
    assert found["a", "b"] == found["a", "c"] == (1, 1)
    assert found["b", "c"] == (0, 1)
    assert (found["a", None], found["b", None], found["c", None]) == ((2, 2), (0, 2), (1, 2))


def test_wilson():
    assert wilson(0, 0) == (0, 1)
    low, high = wilson(0, 10)
    assert low == 0
    assert high == pytest.approx(1.959964**2 / (10 + 1.959964**2))
    assert wilson(10, 10) == pytest.approx((1 - high, 1))
    low, high = wilson(50, 100)
    assert low + high == pytest.approx(1)


def test_bradley_terry_of_two_is_the_log_of_the_odds():
    scores = bradley_terry(np.array([[0.0, 30], [10, 0]]))
    assert scores == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    never_lost = bradley_terry(np.array([[0.0, 9], [0, 0]]))  # half a win is added to each side
    assert never_lost[0] - never_lost[1] == pytest.approx(math.log(9.5 / 0.5))
    assert bradley_terry(np.zeros((3, 3))) == pytest.approx([0, 0, 0])


def test_bradley_terry_recovers_strengths():
    """Expected wins of known strengths have these strengths as their maximum."""
    strength = np.array([0.7, 0.1, -0.3, -0.5])
    odds = np.exp(strength[:, None] - strength)
    wins = 100 * odds / (1 + odds)
    np.fill_diagonal(wins, 0)
    assert bradley_terry(wins) == pytest.approx(strength, abs=1e-6)


HEAD = "study,voter,trial,better,style,content\n"


def test_votes_are_read():
    key = key_of(("a", "b"))
    (answer,) = read_votes("\ufeff" + HEAD + "k,v,2,left,right,left\r\n", key)
    assert answer == Answer("v", 2, {"better": "left", "style": "right", "content": "left"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "other,v,1,left,left,left\n", "votes of study other"),
        (HEAD + "k,v,3,left,left,left\n", "line 2: not a vote"),
        (HEAD + "k,v,0,left,left,left\n", "not a vote"),
        (HEAD + "k,v,1,left,left,left\nk,v,1,left,middle,left\n", "line 3: not a vote"),
        (HEAD + "k,v,1,left\n", "not a vote"),
        (HEAD + "k,,1,left,left,left\n", "not a vote"),
        ("a,b\n1,2\n", "not a vote"),
    ],
)
def test_other_files_are_no_votes(text, message):
    with pytest.raises(QuantArtError, match=message):
        read_votes(text, key_of(("a", "b")))
