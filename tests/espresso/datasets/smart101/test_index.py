from collections import Counter

import pytest

from espresso.datasets.smart101.index import read_index
from espresso.errors import DataError

HEAD = "id,Question,image,A,B,C,D,E,Answer option,difficulty,type,level,source,note\n"
ROW = '7,"How many, in all?",x.png,1,2,3,4,5,A ,2,Algebra,1,kangaroo,"a, b"\n'


def test_the_official_index_is_read_completely(real_index):
    bad = []
    index = read_index(real_index.parent, bad)
    assert not bad
    assert sorted(index) == list(range(1, 102))
    assert Counter(info.skill for info in index.values()) == {
        "counting": 26, "algebra": 15, "math": 14, "path": 12, "spatial": 9, "logic": 9, "measure": 8, "pattern": 5, "order": 3,
    }  # fmt: skip
    assert Counter(info.difficulty for info in index.values()) == {1: 72, 2: 23, 3: 6}


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_row_is_read_with_and_without_a_byte_order_mark(tmp_path, start):
    (tmp_path / "SMART_info_v2.csv").write_text(start + HEAD + ROW, encoding="utf-8")
    info = read_index(tmp_path, [])[7]
    assert (info.skill, info.difficulty) == ("algebra", 2)


def test_the_index_may_stand_next_to_the_release(tmp_path):
    folder = tmp_path / "SMART101-release-v1" / "SMART101-Data"
    folder.mkdir(parents=True)
    (tmp_path / "SMART_info_v2.csv").write_text(HEAD + ROW)
    assert list(read_index(folder, [])) == [7]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("7,", "102,", "the field 'id' is '102', not a number from 1 to 101"),
        ("Algebra", "poetry", "the field 'type' is 'poetry', but the types are counting, math"),
        (",2,Alg", ",9,Alg", "the field 'difficulty' is '9', not 1, 2 or 3"),
        ("7,", "8,", "puzzle 8 is there twice"),
    ],
)
def test_an_invalid_row_is_reported(tmp_path, old, new, why):
    (tmp_path / "SMART_info_v2.csv").write_text(HEAD + ROW.replace("7,", "8,") + ROW.replace(old, new))
    bad = []
    assert list(read_index(tmp_path, bad)) == [8]
    assert why in str(bad[0])
    assert "SMART_info_v2.csv, row 2" in str(bad[0])


def test_without_an_index_the_error_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"the index SMART_info_v2.csv is missing.*authors' repository"):
        read_index(tmp_path, [])


def test_an_index_without_a_puzzle_is_an_error(tmp_path):
    (tmp_path / "SMART_info_v2.csv").write_text(HEAD)
    with pytest.raises(DataError, match="no puzzle in it"):
        read_index(tmp_path, [])
