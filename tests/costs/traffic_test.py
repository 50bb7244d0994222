"""Bytes between main memory and cores, counted in programs small enough to be counted by hand."""

import pytest

from latent_jax.costs.traffic import memory_traffic_bytes

ARRAY = "bf16[6,1024]{1,0:T(8,128)(2,1)}"
NEAR = "bf16[1024]{0:T(1024)(2,1)S(1)}"
"""Arrays in main memory, and in the vector memory of a TPU, which `S(1)` says."""

PROGRAM = f"""HloModule jit_step

%slice_one (stack: bf16[6,1024], i: s32[]) -> bf16[1024] {{
  %stack = {ARRAY} parameter(0)
  %i = s32[]{{:S(6)}} parameter(1)
  %one = bf16[1,1024]{{1,0}} dynamic-slice(%stack, %i, %i), dynamic_slice_sizes={{1,1024}}
  ROOT %flat = bf16[1024]{{0}} bitcast(%one)
}}

%double (stack: bf16[6,1024], i: s32[]) -> bf16[1024] {{
  %stack = {ARRAY} parameter(0)
  %i = s32[]{{:S(6)}} parameter(1)
  %nested = bf16[1024]{{0}} fusion(%stack, %i), kind=kLoop, calls=%slice_one
  ROOT %sum = bf16[1024]{{0}} add(%nested, %nested)
}}

%write_one (stack: bf16[6,1024], x: bf16[1024], i: s32[]) -> bf16[6,1024] {{
  %stack = {ARRAY} parameter(0)
  %x = {NEAR} parameter(1)
  %i = s32[]{{:S(6)}} parameter(2)
  %row = bf16[1,1024]{{1,0}} bitcast(%x)
  ROOT %stacked = {ARRAY} dynamic-update-slice(%stack, %row, %i, %i)
}}

%body (state: (s32[], bf16[6,1024], bf16[6,1024])) -> (s32[], bf16[6,1024], bf16[6,1024]) {{
  %state = (s32[]{{:S(6)}}, {ARRAY}, {ARRAY}) parameter(0)
  %i = s32[]{{:S(6)}} get-tuple-element(%state), index=0
  %from = {ARRAY} get-tuple-element(%state), index=1
  %to = {ARRAY} get-tuple-element(%state), index=2
  %x = {NEAR} fusion(%from, %i), kind=kLoop, calls=%double
  %near = {NEAR} multiply(%x, %x)
  %written = {ARRAY} fusion(%to, %near, %i), kind=kLoop, calls=%write_one
  ROOT %next = (s32[]{{:S(6)}}, {ARRAY}, {ARRAY}) tuple(%i, %from, %written)
}}

%condition (state: (s32[], bf16[6,1024], bf16[6,1024])) -> pred[] {{
  %state = (s32[]{{:S(6)}}, {ARRAY}, {ARRAY}) parameter(0)
  %limit = s32[]{{:S(6)}} constant(6)
  %i = s32[]{{:S(6)}} get-tuple-element(%state), index=0
  ROOT %less = pred[]{{:S(6)}} compare(%i, %limit), direction=LT
}}

ENTRY %main (x: bf16[6,1024]) -> bf16[6,1024] {{
  %x = {ARRAY} parameter(0)
  %zero = s32[]{{:S(6)}} constant(0)
  INSTRUCTION
  %state = (s32[]{{:S(6)}}, {ARRAY}, {ARRAY}) tuple(%zero, %x, %x)
  %loop = (s32[]{{:S(6)}}, {ARRAY}, {ARRAY}) while(%state), condition=%condition, body=%body
  ROOT %out = {ARRAY} get-tuple-element(%loop), index=2
}}
"""
LOOP = 6 * (1024 * 2 + 1024 * 2)
"""Each time one row is read, and one is written."""
WHOLE = 6 * 1024 * 2


@pytest.mark.parametrize(
    ("instruction", "n_bytes"),
    [
        ("", 0),
        (f"%y = {ARRAY} negate(%x)", 2 * WHOLE),
        (f"%y = {ARRAY.replace(')}', ')S(1)}')} negate(%x)", WHOLE),
        (f"%y = ({ARRAY.replace(')}', ')S(1)}')}, {ARRAY}, u32[]{{:S(2)}}) copy-start(%x)", WHOLE),
        (f"%y = (({ARRAY}), {NEAR}, s32[]{{:S(2)}}) slice-start(%x), slice={{}}", 2048),
        (f"%y = {ARRAY} copy-done(%x)", 0),
        (f"%y = {NEAR} gather(%x, %zero), offset_dims={{0}}", 2048),
        (f"%y = {ARRAY} all-reduce(%x), channel_id=1, to_apply=%add", 2 * WHOLE),
    ],
)
def test_only_main_memory_counts(instruction, n_bytes):
    assert memory_traffic_bytes(PROGRAM.replace("INSTRUCTION", instruction)) == LOOP + n_bytes
