"""Rules that reading the text decides: LCK, and the part of CON that needs no run."""

from __future__ import annotations

TEXTS: tuple[tuple[str, str, str, str, str, str], ...] = (
    (
        "LCK-SKELETON",
        "An unknown skeleton",
        'SPEC\'s template names a released skeleton, or is "free".',
        "The lock compares with that skeleton.",
        "Use the name that the message suggests.",
        '"template": "linear_state/v1/token_decy"',
    ),
    (
        "LCK-CHANGED",
        "A locked line was changed",
        "Outside of slot bodies, the docstring and TUNING, the text equals the skeleton's.",
        "What the skeleton proves holds only while its frame is the same.",
        "Restore the line, or move the change into a slot.",
        "-    count = tl.minimum(T - i_c * CHUNK, CHUNK)",
    ),
    (
        "LCK-ADDED",
        "Something was added outside of the slots",
        "A templated file has exactly the skeleton's functions and statements.",
        "New functions are new behaviour outside of what may vary.",
        "Write it inside of a slot's body.",
        "def _my_helper(x): ...",
    ),
    (
        "LCK-MISSING",
        "A part of the skeleton is gone",
        "Every statement of the skeleton is there.",
        "The frame must be whole.",
        "Put it back.",
        "def backward(...)  # deleted",
    ),
    (
        "LCK-ORDER",
        "The parts are in another order",
        "The order is the skeleton's.",
        "A candidate is a small diff against its skeleton.",
        "Restore the order.",
        "backward above forward",
    ),
    (
        "LCK-NOT-CANONICAL",
        "The text is not in canonical form",
        "A candidate is a fixed point of the formatter.",
        "One text for one program: hashes, diffs and reviews depend on it.",
        "Format the file.",
        "x=1",
    ),
    (
        "LCK-SOURCE-HASH",
        "The file differs from its verdict",
        "The source hash in a verdict is the hash of the file next to it.",
        "A verdict is about one text.",
        "Judge the file again.",
        "verdict.json names 3f2a..., mechanism.py is 91bc...",
    ),
    (
        "CON-SPEC",
        "No SPEC",
        "A module-level SPEC = {...} holds the contract.",
        "Without it nothing can be tested.",
        "Write the literal dict.",
        "# no SPEC",
    ),
    (
        "CON-SPEC-KEY",
        "A key that is unknown, missing or repeated",
        (
            "Keys are contract, template, causal, inputs, output, state, and optionally slots, params, dims, "
            "constants, dtypes_extra."
        ),
        "A misspelt key would silently mean the default.",
        "Use the key that the message names.",
        '"casual": True',
    ),
    (
        "CON-SPEC-VALUE",
        "A value of the wrong form",
        "SPEC is a literal: strings, numbers, booleans, lists and dicts where each belongs.",
        "It is read from the syntax tree and never executed.",
        "Write the literal value.",
        '"causal": 1 > 0',
    ),
    (
        "CON-TEMPLATE",
        "A template that is no name",
        'The template is "free" or "<family>/v<N>/<skeleton>".',
        "It selects the lock.",
        "Use one of the forms.",
        '"template": "../secret"',
    ),
    (
        "CON-ENTRY",
        "A tensor entry that does not parse",
        'An entry is "dims [: domain] [, dtype]"; the output has dims only.',
        "The judge makes test data from it.",
        'Write e.g. "B T H : log_decay, float32".',
        '"g": "B T H, float32 : log_decay"',
    ),
    (
        "CON-DOMAIN",
        "An unknown domain",
        "Domains are normal, unit_norm, log_decay, unit_interval, positive, angle, and index for inputs.",
        "The judge owns the distributions, so nobody chooses their own test data.",
        "Use a listed domain.",
        '"g": "B T H : tiny"',
    ),
    (
        "CON-DTYPE-NAME",
        "An unknown dtype in SPEC",
        "Tensors are io or float32; dtypes_extra may add float16; an index has no dtype.",
        "float32 and bfloat16 are always tested, and nothing can subtract from that.",
        "Use a listed dtype.",
        '"dtypes_extra": ["float64"]',
    ),
    (
        "CON-DIMS",
        "Dimensions in the wrong places",
        (
            "Inputs and output start with B T, state starts with B, params hold no B, state and params no T; "
            "names start with a capital and appear once."
        ),
        "The layout is (B, T, H, D) everywhere, and a state may not grow with the sequence.",
        "Reorder or rename the dimensions.",
        '"state": {"S": "B T K V"}',
    ),
    (
        "CON-DIM-RULE",
        "A dimension without a valid rule",
        (
            'Every name beyond B, T, H, K, V, D has a rule "lo..hi", a number, or an expression; expressions '
            "use names with sizes of their own and are at least 1."
        ),
        "The enumerator picks sizes from it.",
        "Add or correct the rule in dims.",
        '"dims": {"W": "64..1"}',
    ),
    (
        "CON-FLOOR",
        "A rule that narrows what must be tested",
        "B, T and H take any size, K, V and D at least 1..128.",
        "A mechanism may not exclude the sizes on which it fails.",
        "Remove the rule, or use a name of your own.",
        '"dims": {"K": 64}',
    ),
    (
        "CON-NAME",
        "A name that cannot be an argument",
        (
            "Names are short identifiers, not reserved, and different across inputs, params, state and "
            "constants."
        ),
        "They become arguments, keywords and labels of gradients.",
        "Rename it.",
        '"inputs": {"state": "B T H K"}',
    ),
    (
        "CON-SLOTS",
        "Slots where none belong, or malformed ones",
        "A free mechanism has no slots; slots are lists of function names.",
        "Only skeletons define what is free.",
        "Remove or correct them.",
        '"template": "free", "slots": {"phi": ["_phi"]}',
    ),
    (
        "CON-STATE",
        "A family's state is missing",
        "A mechanism of a family that carries state declares it.",
        "Split and resume is part of what the family promises.",
        "Keep the skeleton's state.",
        '"state": {}',
    ),
    (
        "CON-FUNCTION",
        "A required function is missing",
        "reference, forward and backward exist as plain functions; parallel may.",
        "They are what is judged.",
        "Write the function with the signature given.",
        "# no backward",
    ),
    (
        "CON-SIGNATURE",
        "A signature that differs from SPEC",
        "Arguments follow SPEC: inputs, params; then state, tuning, needs and constants by keyword.",
        "The judge and the module call by this order.",
        "Copy the signature from the message.",
        "def forward(k, q, v, *, state, tuning):",
    ),
    (
        "CON-TUNING",
        "TUNING is malformed",
        (
            "A literal list of 1 to 8 different dicts with the same keys, whole numbers, num_warps in 1, 2, "
            "4, "
            "8, 16, num_stages 1 to 8."
        ),
        "Every entry is judged; the first is the default.",
        "Correct the entry.",
        'TUNING = [{"num_warps": 3}]',
    ),
)
