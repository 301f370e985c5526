"""The README's table comes out whole, without its marks."""

import pytest

from common.errors import DataError
from evaluation.page.deviations import Piece, read_deviations


def test_cells_lose_their_marks_and_keep_code_apart(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "# T\n| not | this |\n\n## Deviations\n\nWords.\n\n| the paper | we |\n| --- | --- |\n"
        "| 1\\*1 \\| x | `--a|b`.md |\n".replace("--a|b", "--ab")
        + "| [the page](a.md) | |\n\n## Next\n| a |\n"
    )
    head, rows = read_deviations(readme)
    assert head == [[Piece("the paper", False)], [Piece("we", False)]]
    assert rows == [
        [[Piece("1*1 | x", False)], [Piece("--ab", True), Piece(".md", False)]],
        [[Piece("the page", False)], []],
    ]


def test_the_projects_own_table_is_read():
    head, rows = read_deviations()
    assert [cell[0].text for cell in head] == ["the paper says", "we do", "why"]
    assert len(rows) > 10
    assert all(len(row) == 3 for row in rows)


@pytest.mark.parametrize("text", ["# T\n", "# T\n\n## Deviations\n\nnone\n"])
def test_a_readme_without_the_table_is_named(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(DataError, match=r"README\.md: has no table under '## Deviations'"):
        read_deviations(tmp_path / "README.md")
    with pytest.raises(DataError, match="cannot be read"):
        read_deviations(tmp_path / "none.md")
