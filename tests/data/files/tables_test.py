"""Tables in files: all that is not filled stays as it was, byte for byte."""

import os

import numpy as np
import pytest

from dgm_jax.core import errors, files
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import Options, chosen, key, marked


def text_table(folder, text, name="t.csv", **options):
  path = folder / name
  path.write_bytes(text.encode())
  return tables.read(path, Options(**{"header": True} | options))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_text_file_that_is_not_filled_is_written_byte_for_byte(tmp_path, newline, end, mark):
  lines = ['a;"b ""c""";d', '1.50; "x;y" ;', ';NA;"two\nlines"', "+7;'q';0x"]
  text = mark + "\n".join(lines).replace("\n", newline) + end.replace("\n", newline)
  table = text_table(tmp_path, text)
  assert table.names == ("a", 'b "c"', "d")
  assert [list(c) for c in table.values] == [["1.50", "", "+7"], ["x;y", "NA", "'q'"], ["", f"two{newline}lines", "0x"]]
  assert [list(m) for m in table.missing] == [[False, True, False], [False, True, False], [True, False, False]]
  table.write(tmp_path / "o.csv", {})
  assert (tmp_path / "o.csv").read_bytes() == text.encode()


def test_only_missing_cells_are_filled_and_classes_are_written_as_in_other_rows(tmp_path):
  table = text_table(tmp_path, 'n,k,c\n1.250,7,"ab"\n,,\n -3 ,8,plain\n?,-999.0,?\n', missing="?,-999")
  table.write(tmp_path / "o.csv", {0: [0.123456789, 1e6], 1: [5, 12345678], 2: ["ab", "new, one"]})
  expected = 'n,k,c\n1.250,7,"ab"\n0.123457,5,"ab"\n -3 ,8,plain\n1e+06,12345678,"new, one"\n'
  assert (tmp_path / "o.csv").read_text() == expected
  assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(("separator", "name"), [(",", "t.csv"), (";", "t.csv"), ("|", "t.csv"), ("\t", "t.tsv")])
def test_the_separator_is_detected(tmp_path, separator, name):
  table = text_table(tmp_path, f"a{separator}b\n1{separator}\n", name)
  assert table.names == ("a", "b")


def test_separators_in_quotes_and_in_some_lines_only_are_not_taken_for_the_separator(tmp_path):
  assert text_table(tmp_path, '"x, y, z";b\n"1, 2";3\n').names == ("x, y, z", "b")
  assert text_table(tmp_path, "a, then b;c\n1;2\n").names == ("a, then b", "c")
  assert text_table(tmp_path, "1,5;2,5\n3,5;4,5\n", header=False, decimal=",").values[1].tolist() == ["2.5", "4.5"]


def test_decimal_commas_are_read_and_written(tmp_path):
  table = text_table(tmp_path, 'x;k;t\n1,25;3;a,b\n;;"-2,5"\n-999,0;4;\n', decimal=",", missing="-999")
  assert [c.tolist() for c in table.values] == [["1.25", "", "-999.0"], ["3", "", "4"], ["a,b", "-2.5", ""]]
  assert [list(m) for m in table.missing] == [[0, 1, 1], [0, 1, 0], [0, 0, 1]]
  table.write(tmp_path / "o.csv", {0: [0.5, -1e-7], 1: [7], 2: ["-2.5"]})
  assert (tmp_path / "o.csv").read_text() == 'x;k;t\n1,25;3;a,b\n0,5;7;"-2,5"\n-1e-07;4;"-2,5"\n'


@pytest.mark.parametrize(
  ("text", "options", "expected"),
  [
    ("a;b\n0,5;x\n1,25;y\n", {}, ["0.5", "1.25"]),
    ("a\tb\n-0,5\tx\n1234,125\ty\n", {}, ["-0.5", "1234.125"]),
    ("0,5;1,5\n,25;3\n", {}, ["0.5", ".25"]),  # the first line is data
    ("a;b\n0,5;1.5\n1,5;2\n", {}, ["0,5", "1,5"]),  # two marks: texts, which are refused as numbers
    ("a;b\n1,234;x\n12,345;y\n", {}, ["1,234", "12,345"]),  # thousands, or thousandths
    ("a;b\n1,234;x\n12,345;y\n", {"decimal": ","}, ["1.234", "12.345"]),
    ('a,b\n"0,5",x\n"1,5",y\n', {}, ["0,5", "1,5"]),
  ],
)
def test_decimal_commas_are_detected_where_they_are_certain(tmp_path, text, options, expected):
  assert text_table(tmp_path, text, **{"header": None} | options).values[0].tolist() == expected


def test_points_in_a_column_of_decimal_commas_raise_one_sentence(tmp_path):
  with pytest.raises(errors.UserError, match=r"column 'a' holds '1\.234', but its decimal mark is ','"):
    text_table(tmp_path, "a;b\n0,5;x\n1.234;y\n", decimal=",")


@pytest.mark.parametrize("text", ["NULL", "null", "None", "N/A", "n/a", "#N/A", "<NA>", "NaT", "NaN", "nan", "NA", ""])
def test_the_same_words_mark_missing_entries_in_every_format(tmp_path, text):
  pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
  parquet.write_table(pa.table({"a": ["x", text], "b": [1, 2]}), tmp_path / "t.parquet")
  for table in (text_table(tmp_path, f"a,b\nx,1\n{text},2\n"), tables.read(tmp_path / "t.parquet")):
    assert [list(m) for m in table.missing] == [[False, True], [False, False]]


def test_a_marker_is_compared_in_the_type_of_the_numbers():
  assert marked(np.array([-999.1, 1], np.float32), ["-999.1"]).tolist() == [True, False]
  assert marked(np.array([-999, 1], np.int16), ["-999.0"]).tolist() == [True, False]


@pytest.mark.parametrize(
  ("text", "index"),
  [
    (",a,b\n7,1,2\n10,,3\n", (0,)),
    ("Unnamed: 0,a\n0,1\n1,2\n", (0,)),
    ("a,__index_level_0__\n1,x\n1,y\n", (1,)),
    (",a\n7,1\n7,2\n", ()),  # a value occurs twice
    (",a\n,1\n7,2\n", ()),  # one is missing
    ("a,\n1,2\n3,4\n", ()),  # not the first
    ('""\n1\n2\n', ()),  # there is no other column
  ],
)
def test_the_index_of_a_data_frame_is_recognised(tmp_path, text, index):
  assert text_table(tmp_path, text).index == index


def test_spellings_of_one_value_have_one_key():
  for same in (("1", "1.0", 1, 1.0, "+1", "1e0"), ("True", "true", "TRUE", True, np.True_), ("2.50", "2.5")):
    assert len({key(value) for value in same}) == 1
  for one, other in (("9007199254740993", "9007199254740992"), ("1", "True"), ("a", "A"), ("1_0", "10")):
    assert key(one) != key(other)


def test_a_pipe_is_not_read(tmp_path):
  os.mkfifo(tmp_path / "t.csv")
  with pytest.raises(errors.UserError, match="is a pipe or a device"):
    tables.read(tmp_path / "t.csv")


def test_empty_lines_between_rows_are_no_rows_and_stay(tmp_path):
  table = text_table(tmp_path, "a,b\n\n1,2\n  \n3,\n")
  assert table.num_rows == 2
  table.write(tmp_path / "o.csv", {1: [4]})
  assert (tmp_path / "o.csv").read_text() == "a,b\n\n1,2\n  \n3,4\n"


def test_columns_and_the_target_are_given_by_name_or_index():
  names = ("a", "b", "2", "c")
  assert chosen(names, Options(), "t") == ([0, 1, 2, 3], None)
  assert chosen(names, Options(target="b"), "t") == ([0, 2, 3], 1)
  assert chosen(names, Options(columns="c,0", target=-1), "t") == ([0], 3)
  assert chosen(names, Options(columns=["2", "1"]), "t") == ([2, 1], None)  # a name comes before an index
  assert chosen(names, Options(columns=[True, False, True, False]), "t") == ([0, 2], None)  # a mask, no indices
  assert chosen(names, Options(), "t", [1]) == ([0, 2, 3], None)
  assert chosen(names, Options(columns="b"), "t", [1]) == ([1], None)
  for options, sentence in (
    (Options(columns=[True, False]), "a mask of 2 columns; there are 4"),
    (Options(columns="a,bb"), "Unknown column of t 'bb'. Did you mean 'b'"),
    (Options(target="4"), "Unknown target of t '4'"),
    (Options(columns="a,0"), "lists 'a' twice"),
    (Options(columns="a", target="a"), "no column besides the target 'a'"),
  ):
    with pytest.raises(errors.UserError, match=sentence):
      chosen(names, options, "t")
  with pytest.raises(errors.UserError, match="Did you mean 'gene_123'") as caught:
    chosen([f"gene_{i}" for i in range(2000)], Options(columns="gene123"), "t")
  assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"separator": ";"}, "the separator ';' does not occur in the first line, 'a,b'"),
    ({"separator": ";;"}, "separator = ';;'; it must be one character, or tab"),
    ({"separator": ",", "decimal": ","}, "differ from the decimal mark"),
    ({"decimal": "'"}, 'decimal = "\'"; it must be'),
  ],
)
def test_invalid_options_raise_one_sentence(tmp_path, options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    text_table(tmp_path, "a,b\n1,2\n", **options)


def test_empty_lines_of_a_file_with_one_column_are_missing_entries(tmp_path):
  table = text_table(tmp_path, "a\n1\n\n3\n")
  assert list(table.missing[0]) == [False, True, False]


def test_without_a_header_columns_are_numbered_and_none_is_written(tmp_path):
  table = text_table(tmp_path, "1,2\n,4\n", header=False)
  assert table.names == ("column_1", "column_2")
  table.write(tmp_path / "o.csv", {0: [9]})
  assert (tmp_path / "o.csv").read_text() == "1,2\n9,4\n"


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("a,b\n1,2\n1;2\n", "line 3 has 1 cells, but the first line has 2, with the separator ','"),
    ("a,b\n1,2,3\n", "line 2 has 3 cells"),
    ("a,b\n", "has no rows"),
    ("", "has no rows"),
    ("a,a\n1,2\n", "two columns named 'a'"),
    ("1,2\n3,\n", "the first line holds numbers"),
    ('a,b\n1,2\n"1,2\n3,4\n', r"t\.csv: a quote in line 3 is not closed: '\"1,2"),
  ],
)
def test_invalid_tables_raise_one_sentence(tmp_path, text, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    text_table(tmp_path, text)


def test_files_that_cannot_be_read_are_named(tmp_path):
  with pytest.raises(errors.UserError, match=r"none.csv cannot be read: No such file"):
    tables.read(tmp_path / "none.csv")
  with pytest.raises(errors.UserError, match=r"must end in one of .csv, .npz, .parquet, .tsv"):
    tables.read(tmp_path / "t.xlsx")
  for name in ("t.npz", "t.parquet", "t.csv"):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00nothing")
    with pytest.raises(errors.UserError, match=name):
      tables.read(tmp_path / name)


def test_npz_keeps_its_other_arrays_and_may_have_a_mask(tmp_path):
  x = np.array([[1, 2], [3, 4]], np.int32)
  np.savez(tmp_path / "t.npz", x=x, mask=np.array([[1, 0], [1, 1]]), y=np.arange(2))
  table = tables.read(tmp_path / "t.npz")
  assert table.names == ("x0", "x1")
  table.write(tmp_path / "o.npz", {1: [9]})
  with np.load(tmp_path / "o.npz") as found:
    np.testing.assert_array_equal(found["x"], [[1, 9], [3, 4]])
    assert found["x"].dtype == np.int32
    np.testing.assert_array_equal(found["y"], [0, 1])
  np.savez(tmp_path / "bad.npz", z=x)
  with pytest.raises(errors.UserError, match="holds z; the table is expected as 'x'"):
    tables.read(tmp_path / "bad.npz")


def test_an_interrupted_write_leaves_the_previous_file(tmp_path):
  (tmp_path / "o.csv").write_text("before")
  with pytest.raises(RuntimeError), files.whole(tmp_path / "o.csv") as temporary:
    temporary.write_text("half")
    raise RuntimeError
  assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("o.csv", "before")]
