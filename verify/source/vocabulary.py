"""The words a mechanism may use, by the role of the function. Everything not listed here is refused."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODULES: Mapping[str, str] = {"math": "math", "torch": "torch", "triton": "triton", "tl": "triton.language"}
"""Local name -> what it must be an import of."""

TORCH_DTYPES = _words("float64 float32 float16 bfloat16 int8 int16 int32 int64 uint8 bool")
FLOAT_DTYPES = _words("float64 float32 float16 bfloat16")
TL_DTYPES = _words(
    "float64 float32 float16 bfloat16 float8e4nv float8e5 int1 int8 int16 int32 int64 uint8 uint16 uint32 "
    "uint64"
)

MATH_CONSTANTS = _words("pi e inf tau")
MATH_FUNCTIONS = _words(
    "sqrt exp exp2 expm1 log log2 log10 log1p pow ceil floor trunc gcd lcm prod sin cos tan tanh sinh cosh "
    "atan erf gamma lgamma "
    "isqrt hypot fabs copysign"
)
BUILTINS = _words(
    "abs all any bool divmod enumerate float int len list max min pow range reversed round slice sorted sum "
    "tuple zip"
)
NUMERIC_BUILTINS = _words("abs bool divmod float int len max min pow round")
BUILTIN_KEYWORDS: Mapping[str, frozenset[str]] = {
    "zip": _words("strict"),
    "enumerate": _words("start"),
    "sum": _words("start"),
    "sorted": _words("reverse"),
}
LIST_METHODS = _words("append extend insert reverse")

# --- wrappers: forward, backward and their helpers allocate, reshape and launch
WRAPPER_TORCH = _words("empty empty_like zeros zeros_like ones ones_like full full_like")
WRAPPER_TRITON = _words("cdiv next_power_of_2")
WRAPPER_METHODS = _words(
    "view reshape transpose permute expand expand_as view_as unsqueeze squeeze flatten unflatten narrow "
    "select movedim swapaxes t "
    "split chunk unbind contiguous is_contiguous clone to float stride size numel dim new_empty new_zeros "
    "new_ones new_full"
)
WRAPPER_KEYWORDS = _words(
    "dtype device dim dim0 dim1 start length size shape sizes start_dim end_dim fill_value chunks split_size "
    "index"
)

# --- oracle: reference, parallel and their helpers compute with pure, differentiable functions
_ELEMENTWISE = _words(
    "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square pow abs sign sin cos tan asin acos atan atan2 "
    "sinh cosh tanh erf erfc "
    "sigmoid relu softmax log_softmax clamp clamp_min clamp_max minimum maximum add sub mul div neg "
    "reciprocal lerp addcmul addcdiv "
    "fmod remainder floor ceil trunc where logaddexp logsumexp hypot sinc lgamma xlogy heaviside eq ne lt le "
    "gt ge logical_and "
    "logical_or logical_not logical_xor isfinite bitwise_and bitwise_or bitwise_xor bitwise_not rad2deg "
    "deg2rad frac polygamma "
    "digamma logcumsumexp cumsum cumprod cummax cummin diff"
)
_REDUCTIONS = _words(
    "sum mean prod amax amin max min var std norm argmax argmin all any sort argsort topk flip roll trace"
)
_LINEAR = _words(
    "matmul mm bmm mv dot outer einsum tensordot inner baddbmm addmm chain_matmul kron cross vdot"
)
_SHAPES = _words(
    "cat concat stack hstack vstack split chunk unbind transpose permute unsqueeze squeeze reshape flatten "
    "unflatten movedim swapaxes "
    "narrow select index_select gather scatter scatter_add index_add take_along_dim masked_fill tril triu "
    "diagonal diag diag_embed "
    "diagonal_scatter select_scatter slice_scatter tile repeat_interleave broadcast_to rot90 unfold t clone"
)

ORACLE_TORCH = (
    ((_ELEMENTWISE | _REDUCTIONS | _LINEAR | _SHAPES) - _words("unfold"))
    | _words(
        "arange linspace eye zeros zeros_like ones ones_like full full_like meshgrid tril_indices "
        "triu_indices broadcast_tensors"
    )
    | TORCH_DTYPES
)
"""Names of `torch` that reference and parallel may use; all pure, none reads values into Python."""

ORACLE_FUNCTIONAL = _words(
    "elu softplus silu gelu relu relu6 selu celu mish leaky_relu hardtanh hardsigmoid hardswish softsign "
    "tanhshrink logsigmoid sigmoid "
    "tanh softmax log_softmax softmin normalize pad layer_norm rms_norm glu cosine_similarity one_hot linear "
    "conv1d unfold"
)
"""Names of `torch.nn.functional` that reference and parallel may use."""

FUNCTIONAL_POSITIONAL: Mapping[str, int] = {
    "elu": 2,
    "silu": 1,
    "relu": 1,
    "relu6": 1,
    "selu": 1,
    "celu": 2,
    "mish": 1,
    "leaky_relu": 2,
    "hardtanh": 3,
    "hardsigmoid": 1,
    "hardswish": 1,
}
"""Positional arguments before `inplace`, for the functions that have it."""

ORACLE_METHODS = (_ELEMENTWISE | _REDUCTIONS | _LINEAR | _SHAPES) - _words(
    "cat concat stack hstack vstack einsum tensordot where meshgrid chain_matmul"
) | _words(
    "where view expand expand_as view_as contiguous stride size numel dim new_zeros new_ones new_full "
    "type_as repeat "
)
ORACLE_CASTS = _words("to float double half bfloat16 type_as")
"""Casts: allowed in parallel, refused in reference, which the judge runs in float64."""

ORACLE_KEYWORDS = _words(
    "dim dims dim0 dim1 keepdim dtype device diagonal correction unbiased min max alpha beta value eps p "
    "approximate other descending "
    "start end step steps size shape sizes repeats shifts offset num_classes negative_slope threshold mode "
    "indexing src index largest "
    "sorted normalized_shape weight bias groups padding stride dilation start_dim end_dim length tensors "
    "mat2 vec2 fill_value k chunks "
    "split_size n prepend append right base exponent stable kernel_size min_val max_val ord dims0 dims1 "
    "source input mask"
)
TEXT_KEYWORDS: Mapping[str, frozenset[str]] = {
    "approximate": _words("none tanh"),
    "mode": _words("constant replicate circular reflect"),
    "indexing": _words("ij xy"),
}

VALUE_ATTRIBUTES = _words("shape dtype ndim device itemsize")
ORACLE_ATTRIBUTES = _words("T mT")
RETURNS_TENSORS = _words("split chunk unbind meshgrid broadcast_tensors")
RETURNS_NUMBERS = _words("numel dim stride size is_contiguous")
RETURNS_UNKNOWN = _words("max min sort topk cummax cummin")

# --- annotations of plain functions
ANNOTATION_NAMES = _words("int float bool str tuple list dict")
ANNOTATION_DOTTED = _words("torch.Tensor torch.dtype torch.device")

# --- kernels
TL_FUNCTIONS = _words(
    "program_id num_programs arange zeros zeros_like full load store make_block_ptr advance dot dot_scaled "
    "trans permute reshape view "
    "broadcast broadcast_to expand_dims squeeze unsqueeze ravel join split cat interleave flip gather where "
    "abs add sub mul cdiv ceil floor "
    "clamp cos sin exp exp2 log log2 erf fma fdiv div_rn rsqrt sqrt sqrt_rn sigmoid softmax maximum minimum "
    "max min argmax argmin sum "
    "xor_sum reduce_or reduce associative_scan cumsum cumprod sort topk histogram umulhi cast atomic_add "
    "atomic_max atomic_min atomic_and "
    "atomic_or atomic_xor static_assert assume multiple_of max_contiguous max_constancy swizzle2d "
    "debug_barrier range static_range"
)
TL_MATH = _words("abs ceil cos div_rn erf exp exp2 fdiv floor fma log log2 rsqrt sin sqrt sqrt_rn umulhi")
TL_COMBINING = _words("reduce associative_scan")
KERNEL_METHODS = _words(
    "to cast reshape view trans permute broadcast_to expand_dims ravel split flip gather sum max min argmax "
    "argmin xor_sum reduce_or cumsum "
    "cumprod sort softmax sigmoid abs exp exp2 log log2 sqrt sqrt_rn rsqrt sin cos erf floor ceil cdiv "
    "histogram logical_and logical_or "
    "advance"
)
KERNEL_ATTRIBUTES = _words("shape dtype T")
DTYPE_ATTRIBUTES = _words("element_ty primitive_bitwidth itemsize")
KERNEL_BUILTINS = _words("range min max len float int")
KERNEL_KEYWORDS = _words(
    "axis mask other boundary_check padding_option cache_modifier eviction_policy volatile shape strides "
    "offsets block_shape order base "
    "dtype value acc input_precision allow_tf32 max_num_imprecise_acc out_dtype keep_dims return_indices "
    "return_indices_tie_break_left "
    "tie_break_left reverse dim descending num_stages loop_unroll_factor flatten warp_specialize "
    "disallow_acc_multi_buffer "
    "disallow_licm can_reorder propagate_nan bitcast fp_downcast_rounding sem scope x y a b input start end "
    "step arg1 arg2 step_size condition "
    "combine_fn div_rounding num_bins min max rhs_k_pack lhs_k_pack fast_math ieee_rounding pointer val "
    "index src k values cond msg div n d "
    "size_i size_j size_g i j"
)
KERNEL_TEXT_KEYWORDS = _words(
    "padding_option cache_modifier eviction_policy input_precision sem scope fp_downcast_rounding"
)

# --- what a forbidden word is usually for: (rule, what to do instead)
_IO = ("POL-IO", "A mechanism reads its arguments and writes its results, nothing else.")
_DYNAMIC = ("POL-DYNAMIC", "Write the code out; text is never run.")
_INTROSPECT = (
    "POL-INTROSPECT",
    "Write the attribute or the value out; looking around in the program is not allowed.",
)
_READ = (
    "POL-VALUE-READ",
    "A plan depends on shapes, strides and dtypes only; compute with values in a kernel.",
)
_DEVICE = ("POL-DEVICE", "Write device=x.device in an allocation; nothing else may depend on the device.")
_STORAGE = ("POL-STORAGE", "Use views, and let kernels read and write memory.")
_GRAPH = ("POL-AUTOGRAD", "Gradients come from `backward`, and in a definition from one unbroken graph.")
_THREADS = ("POL-IMPORT", "Only math, torch, triton and triton.language exist here.")

NAME_HINTS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys("open print input breakpoint exit quit".split(), _IO),
    **dict.fromkeys("eval exec compile __import__ __builtins__ __loader__ __spec__".split(), _DYNAMIC),
    **dict.fromkeys(
        "getattr setattr delattr hasattr vars dir globals locals type object super isinstance issubclass id "
        "hash memoryview callable repr "
        "__name__ __file__ __dict__ iter next map filter property staticmethod classmethod format str bytes "
        "bytearray".split(),
        _INTROSPECT,
    ),
    **dict.fromkeys(
        "os sys time threading subprocess ctypes gc inspect socket mmap random signal atexit builtins "
        "importlib numpy np functools F "
        "multiprocessing pathlib pickle io tempfile shutil weakref operator itertools contextlib".split(),
        _THREADS,
    ),
}
ATTRIBUTE_HINTS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        "item tolist numpy nonzero unique is_nonzero equal allclose __bool__ __float__ __int__ __index__ "
        "masked_select".split(),
        _READ,
    ),
    **dict.fromkeys(
        "is_cuda is_cpu get_device cuda cpu xpu type index data_ptr pin_memory device is_meta".split(),
        _DEVICE,
    ),
    **dict.fromkeys(
        "storage untyped_storage set_ as_strided storage_offset data resize_ share_memory_".split(),
        _STORAGE,
    ),
    **dict.fromkeys(
        "detach detach_ requires_grad requires_grad_ grad backward register_hook retain_grad grad_fn "
        "autograd "
        "no_grad".split(),
        _GRAPH,
    ),
    **dict.fromkeys(
        "gi_frame gi_code cr_frame f_back f_globals f_builtins f_locals func_globals tb_frame format "
        "format_map mro fn src run cache "
        "warmup device_caches raw_src".split(),
        _INTROSPECT,
    ),
    **dict.fromkeys("compile jit load save ops library load_library hub".split(), _DYNAMIC),
}
