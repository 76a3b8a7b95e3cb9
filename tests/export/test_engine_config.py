"""What an engine may be told: profiles, memory and effort."""

from __future__ import annotations

import dataclasses

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import EngineConfig, parse_profile
from alexnet_fast.runtime.manifest import BatchProfile


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("1,8,64", (1, 8, 64)), ("4, 4,4", (4, 4, 4)), ("latency", (1, 1, 32)), ("throughput", (1, 32, 32))],
)
def test_a_profile_is_three_sizes_or_a_name(text, sizes):
    assert dataclasses.astuple(parse_profile(text, 32)) == sizes


@pytest.mark.parametrize("text", ["", "1", "1,8", "1,8,64,128", "a,b,c", "1;8;64", "8,4,64", "0,1,2", "fast"])
def test_any_other_profile_is_bad_usage(text):
    with pytest.raises(
        UserError, match=r"is not three batch sizes; give MIN,OPT,MAX|are not in order"
    ) as caught:
        parse_profile(text, 32)
    assert caught.value.exit_code == 2


def test_settings_out_of_range():
    with pytest.raises(UserError, match="--builder-optimization-level 6 does not exist; give 0 to 5"):
        EngineConfig(level=6)
    with pytest.raises(UserError, match="a --batch-profile is given twice"):
        EngineConfig(profiles=(BatchProfile(min=1, opt=1, max=1),) * 2)
    with pytest.raises(UserError, match="an engine needs a profile"):
        EngineConfig(profiles=())
    with pytest.raises(UserError, match="--workspace-mib 0 is too small"):
        EngineConfig(workspace_mib=0)


@pytest.mark.parametrize("batch", [(0, 1, 2), (1, 9, 8), (2, 1, 8)])
def test_batch_sizes_must_be_in_order(batch):
    low, likely, high = batch
    with pytest.raises(UserError, match="are not in order"):
        EngineConfig(profiles=(BatchProfile(min=low, opt=likely, max=high),))
