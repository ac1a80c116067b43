"""Inputs that once failed are read or refused in one line; the corpus itself is read."""

import random

import pytest

from tests.fuzz.mutate import FOUND, TARGETS, corpus, failure_of, mutated


@pytest.mark.parametrize("path", sorted(FOUND.glob("*-*")), ids=lambda path: path.name)
def test_what_once_failed(path):
    assert failure_of(TARGETS[path.name.partition("-")[0]], path.read_bytes()) is None


def test_the_corpus_is_read():
    for name, inputs in corpus().items():
        TARGETS[name](inputs[0])
        assert [failure_of(TARGETS[name], data) for data in inputs] == [None] * len(inputs)


def test_a_fault_is_seen():
    def target(data):
        raise KeyError(data)

    assert "KeyError" in failure_of(target, b"x")


def test_mutations_are_repeatable_and_differ():
    data = bytes(range(200))
    made = [[mutated(data, random.Random(seed), [data]) for _ in range(1)] for seed in range(50)]
    assert made == [[mutated(data, random.Random(seed), [data]) for _ in range(1)] for seed in range(50)]
    assert sum(each != [data] for each in made) > 40
