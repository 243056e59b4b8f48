"""What is read from intermediate code, machine code and assembly."""

from __future__ import annotations

from verify.triton_cpu.compiler.census import GROUPS, amd_census, sass_census
from verify.triton_cpu.compiler.program import amd_tensor_units, dots, index_widths, tensor_units

TTIR = """
module {
  tt.func public @k(%q: !tt.ptr<bf16>, %s: i64) {
    %a = tt.addptr %q, %s : !tt.ptr<bf16>, i64 loc(#loc1)
    %b = tt.addptr %c, %d : tensor<32x64x!tt.ptr<bf16>>, tensor<32x64xi32> loc(#loc2)
    %e = tt.addptr %f, %g : tensor<32x!tt.ptr<f32>>, tensor<32xi32> loc(#loc3)
    %h = tt.dot %a, %b, %c : tensor<32x64xbf16> * tensor<64x32xbf16> -> tensor<32x32xf32> loc(#loc4)
    %i = tt.dot %a, %b, %c : tensor<16x64xbf16> * tensor<64x16xbf16> -> tensor<16x16xf32> loc(#loc4)
    %j = tt.dot %a, %b, %c, inputPrecision = tf32 : tensor<32x64xf32> * tensor<64x32xf32> -> tensor<32x32xf32>
    %k = tt.dot %a, %b, %c {x = 1 : i32} : tensor<32x64xf32> * tensor<64x32xf32> -> tensor<32x32xf32>
    %l = tt.dot %a, %b, %c : tensor<16x64xf8E4M3FN> * tensor<64x16xf8E5M2> -> tensor<16x16xf32> loc(#loc5)
    %m = tt.dot_scaled %a scale %as, %b scale %bs, %c lhs = e4m3 rhs = e4m3 {fastMath = false} : \
tensor<128x128xf8E4M3FN>, tensor<128x4xi8> * tensor<128x128xf8E4M3FN>, tensor<128x4xi8> -> tensor<128x128xf32>
  }
}
"""

SASS = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P1 IMAD.IADD R2, R2, 0x1, -R7 ;
        /*0020*/                   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR4], RZ, !UPT ;
        /*0030*/               @P0 HMMA.16816.F32.BF16 R4, R4, R8, RZ ;
        /*0040*/             @!UP0 UTCHMMA gdesc[UR4], gdesc[UR6], tmem[UR8], tmem[UR10], idesc[UR11], UP1 ;
        /*0050*/                   MUFU.EX2 R3, R3 ;
        /*0060*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0070*/                   LDG.E.U16.CONSTANT R4, desc[UR4][R2.64] ;
        /*0080*/                   STG.E desc[UR4][R2.64], R5 ;
        /*0090*/                   LDGSTS.E.BYPASS.LTC128B.128 [R5], desc[UR4][R2.64] ;
        /*00a0*/                   UTMALDG.2D [UR8], [UR4] ;
        /*00b0*/                   LDL.LU.64 R2, [R1+0x8] ;
        /*00c0*/                   STL [R1], R3 ;
        /*00d0*/                   LDSM.16.MT88.4 R4, [R5] ;
        /*00e0*/                   LDS.U.64 R4, [R5] ;
        /*00f0*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0100*/                   FFMA R1, R2, R3, R4 ;
        /*0110*/                   SHFL.BFLY PT, R3, R2, 0x1, 0x1f ;
        /*10120*/                  RED.E.ADD.F32.FTZ.RN.STRONG.GPU desc[UR4][R2.64], R5 ;
"""

AMDGCN = """
\t.section .text
k:
\ts_load_dwordx4 s[4:7], s[0:1], 0x0
\tv_mfma_f32_32x32x8_bf16 a[0:15], v[0:1], v[2:3], a[0:15]
\tv_mfma_f32_32x32x8_bf16 a[0:15], v[0:1], v[2:3], a[0:15]
\tbuffer_load_dwordx4 v[0:3], v4, s[0:3], 0 offen
\tbuffer_load_dword v4, s[0:3], 0 offen lds
\tglobal_store_short v[0:1], v2, off
\tscratch_store_dwordx2 off, v[0:1], off offset:8
\tds_read_b128 v[0:3], v4
\tds_bpermute_b32 v1, v2, v3
\tv_add_f32_dpp v1, v2, v3 quad_perm:[1,0,3,2]
\tv_exp_f32_e32 v1, v2
\tv_fma_f32 v1, v2, v3, v4
\tv_pk_mul_f32 v[0:1], v[2:3], v[4:5]
\tglobal_atomic_add_f32 v0, v1, s[0:1]
\ts_barrier
\ts_waitcnt vmcnt(0)
; v_mfma_comment
\t.amdhsa_kernel k
"""


def test_every_dot_is_there_with_types_and_precision() -> None:
    found = {dot.text: dot.count for dot in dots(TTIR)}
    assert found == {
        "bf16 -> f32": 2,
        "f32 tf32 -> f32": 1,
        "f32 ieee -> f32": 1,
        "f8E4M3FN x f8E5M2 -> f32": 1,
        "f8E4M3FN -> f32 scaled": 1,
    }


def test_offsets_are_counted_by_their_width() -> None:
    assert index_widths(TTIR) == {"i32": 2, "i64": 1}


def test_tensor_units_are_told_apart() -> None:
    ptx = "wgmma.mma_async.sync\nmma.sync.aligned.m16n8k16\nmma.sync.aligned\ntcgen05.mma.cta_group::1"
    assert tensor_units(ptx) == {"tcgen05": 1, "wgmma": 1, "mma.sync": 2}
    assert tensor_units("fma.rn.f32") == {}
    assert amd_tensor_units(AMDGCN) == {"mfma": 2}


def test_machine_code_is_counted_by_unit_and_width() -> None:
    (found,) = sass_census(SASS, [1 << 20])
    assert found["tensor core"] == {"HGMMA.64x64x16.F32.BF16": 1, "HMMA.16816.F32.BF16": 1, "UTCHMMA": 1}
    assert found["special"] == {"MUFU.EX2": 1}
    assert found["global"] == {"LDG.128": 1, "LDG.16": 1, "STG.32": 1}
    assert found["async copy"] == {"LDGSTS.128": 1, "UTMALDG": 1}
    assert found["local"] == {"LDL.64": 1, "STL.32": 1}
    assert found["shared"] == {"LDS.64": 1, "LDSM": 1}
    assert found["barrier"] == {"BAR.SYNC": 1}
    assert found["float"] == {"FFMA": 1}
    assert found["exchange"] == {"SHFL": 1}
    assert found["atomic"] == {"RED": 1}
    assert found["all"] == {"total": 19}
    assert list(found) == [group for group in GROUPS if group in found]


def test_kernels_behind_one_another_are_told_apart_by_their_length() -> None:
    first, second, rest = sass_census(SASS, [0x20, 0x10, 1 << 20])
    assert first == {"all": {"total": 2}}
    assert second == {"tensor core": {"HGMMA.64x64x16.F32.BF16": 1}, "all": {"total": 1}}
    assert rest["all"] == {"total": 16}
    assert sass_census(SASS, [0x20]) == [first]
    assert sass_census("", []) == []


def test_amd_assembly_is_counted_in_the_same_groups() -> None:
    found = amd_census(AMDGCN)
    assert found["tensor core"] == {"v_mfma_f32_32x32x8_bf16": 2}
    assert found["global"] == {"buffer_load_dwordx4": 1, "global_store_short": 1}
    assert found["async copy"] == {"buffer_load_dword lds": 1}
    assert found["local"] == {"scratch_store_dwordx2": 1}
    assert found["shared"] == {"ds_read_b128": 1}
    assert found["exchange"] == {"ds_bpermute_b32": 1, "v_add_f32_dpp": 1}
    assert found["special"] == {"v_exp_f32": 1}
    assert found["float"] == {"v_fma_f32": 1, "v_pk_mul_f32": 1}
    assert found["atomic"] == {"global_atomic_add_f32": 1}
    assert found["barrier"] == {"s_barrier": 1, "s_waitcnt": 1}
    assert found["all"] == {"total": 16}
