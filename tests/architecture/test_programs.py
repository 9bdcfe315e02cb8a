"""Random programs: the groups derived for each are true, weight by weight, and no program raises."""

import warnings

import pytest
import torch
from brute_force import false_claims
from programs import OPERATIONS, build

from sneframe.architecture import Architecture

KINDS = ("sequence", "image")


def claims(kind, seed, length):
    """Return the number of groups of a program, those that change its outputs, and its text."""
    program, example = build(seed, kind, length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about axes that are not followed
        architecture = Architecture.from_module(program, example)
    return len(architecture.groups), false_claims(program, architecture, example, seed=seed), program.text


def test_programs_are_made_of_many_operations():
    """Programs are built from more than two hundred operations."""
    assert len(OPERATIONS) >= 200


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_random_programs_have_no_false_group(kind, block):
    """No group of any random program changes its outputs, and most programs have groups."""
    found = [claims(kind, seed, 2 + seed % 4) for seed in range(30 * block, 30 * (block + 1))]
    assert [(text, false) for _, false, text in found if false] == []
    assert sum(groups for groups, _, _ in found) > 15


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("length", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_programs_have_no_false_group(kind, length):
    """No group of a thousand programs of each kind and length changes their outputs."""
    torch.set_num_threads(1)
    found = [claims(kind, 1000 * length + number, length) for number in range(1000)]
    assert [(text, false) for _, false, text in found if false] == []
