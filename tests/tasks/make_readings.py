"""Write down how transformers reads the folders of tests/tasks/test_tokenizer_files.py.

    python tests/tasks/make_readings.py

in an environment with transformers wrote tests/tasks/golden/readings.json: what the parity tests
compare live, for environments without it. transformers 5.2.0 wrote what lies there.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "readings.json"
COLUMNS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping")


def reading(tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """Return what a tokenizer, ours or transformers', makes of texts, and what it says of itself.

    A mask token that no file gives a role is left out: yosort finds one where transformers has
    none.
    """
    options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    pairs = [(text, *second) for text in texts for second in ((), ("a b",))]
    calls = [tokenizer(*pair, **options) for pair in pairs]
    mask = tokenizer.convert_tokens_to_ids(["<mask>"])[0]
    found = {
        "calls": [[call.get(column) for column in COLUMNS] for call in calls],
        "decoded": [tokenizer.decode(call.input_ids, skip_special_tokens=True) for call in calls],
        "count": len(tokenizer),
        "roles": {k: str(v) for k, v in tokenizer.special_tokens_map.items() if k != "mask_token"},
        "special": sorted({*tokenizer.all_special_ids} - {mask}),
        "names": list(tokenizer.model_input_names),
        "sides": [tokenizer.padding_side, tokenizer.truncation_side],
        "length": tokenizer.model_max_length,
    }
    read: dict[str, Any] = json.loads(json.dumps(found))  # tuples become lists
    return read


def main() -> None:
    """Read every folder with transformers."""
    import transformers

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tasks.test_tokenizer_files import BARE, CASES, TEXTS, write

    made = {}
    for cases, model_type in ((CASES, "yoso"), (BARE, None)):
        for name, files in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), files, model_type)
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
                made[f"{model_type}: {name}"] = reading(tokenizer, TEXTS)
    lines = (f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in made.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
