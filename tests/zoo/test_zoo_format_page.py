from __future__ import annotations

import re
from pathlib import Path

from sneframe.zoo.format import DTYPES, FORMAT, KINDS, RESERVED, VERSION, encode_name

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "zoo-format.md").read_text(encoding="utf-8")


def test_the_code_on_the_page_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(block, "zoo-format.md", "exec"), {})


def test_the_page_names_what_the_code_uses() -> None:
    for name in (FORMAT, *RESERVED, *KINDS, *KINDS.values()):
        assert f"`{name}`" in PAGE or f"| {name} |" in PAGE
    assert f"The zoo format, version {VERSION}" in PAGE
    kinds = {re.sub(r"\d+", "", dtype) for dtype in DTYPES}
    assert kinds == {"float", "int", "uint", "bool", "bfloat"}


def test_the_names_on_the_page_are_encoded_as_it_says() -> None:
    table = PAGE.split("| name | encoded |")[1].split("\n\n")[0]
    pairs = re.findall(r"\| `(.+?)` \| `(.+?)` \|", table)
    assert len(pairs) == 5
    for name, encoded in pairs:
        assert encode_name(name) == encoded
