"""Mutations of the loop, the table and the filters: the simulation finds each within some seeds, or a test does."""

from pathlib import Path

import pytest

from tests.proofs import mutations


@pytest.fixture
def directory(tmp_path):
    return Path(tmp_path)


@pytest.mark.slow
def test_the_unchanged_source_passes_every_seed(directory):
    mutations.plant(None, directory)
    assert mutations.found(directory, seeds=mutations.RARE) is None
    assert mutations.found(directory, calm=True) is None


@pytest.mark.slow
@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_is_found(mutation, directory):
    mutations.plant(mutation, directory)
    assert mutations.finding(mutation, directory) is not None
    if mutation.needs_faults:
        assert mutations.found(directory, calm=True) is None


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_has_one_place_in_the_source(mutation):
    path, source = mutations.place(mutation)
    assert source.replace(mutation.old, mutation.new) != source, path


def test_a_mutation_that_no_longer_applies_is_an_error(directory):
    stale = mutations.Mutation("stale", "what is not there", "")
    with pytest.raises(ValueError, match="'what is not there' stands in the source 0 times"):
        mutations.plant(stale, directory)
