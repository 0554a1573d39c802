"""The command on real files: what it prints, and what it says of bad ones."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from infoplane import fisher_shannon
from infoplane.cli import main
from infoplane.tabular import TextFormat, UnreadableFileError, read_columns


def call(capsys, *arguments):
    """Exit status, output and errors of the command."""
    with pytest.raises(SystemExit) as left:
        main(["measure", *map(str, arguments)])
    out, err = capsys.readouterr()
    return left.value.code, out, err


@pytest.fixture
def table(tmp_path):
    """A CSV file with a header, a column of text and missing values."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"name": ["a", "b"] * 250, "height": rng.standard_normal(500), "size": rng.gamma(9.0, size=500)}
    )
    frame.loc[[3, 8, 13], "height"] = np.nan
    file = tmp_path / "people.csv"
    frame.to_csv(file, index=False)
    return file, frame


def test_a_table_is_measured_column_by_column(capsys, table):
    file, frame = table
    status, out, err = call(capsys, file)
    assert (status, err) == (0, "")
    point = fisher_shannon(frame["height"].dropna())
    (line,) = (line for line in out.splitlines() if line.startswith("height "))
    for estimate in (point.entropy, point.entropy_power, point.fisher_trace, point.product):
        assert str(estimate).partition(" (")[0] in line
    assert "people.csv: 500 rows" in out
    assert "height: 3 rows with missing values left out" in out
    assert "not numbers, left out: name" in out


def test_json_has_every_figure(capsys, table):
    file, frame = table
    status, out, _ = call(capsys, file, "--columns", "height", "size", "--json", "--level", "0.9")
    report = json.loads(out)
    assert status == 0
    assert [result["columns"] for result in report["results"]] == [["height"], ["size"]]
    point = fisher_shannon(frame["size"])
    found = report["results"][1]
    assert found["fisher_trace"]["value"] == float(point.fisher_trace)
    assert found["entropy"]["standard_error"] == point.entropy.standard_error
    assert found["product"]["interval"] == list(point.product.interval(0.9))
    assert found["fisher_information"] == point.fisher_information.tolist()


def test_columns_are_one_vector_if_asked(capsys, table):
    file, frame = table
    _, out, _ = call(capsys, file, "--jointly", "--method", "gaussian", "--json")
    (found,) = json.loads(out)["results"]
    whole = frame.dropna()[["height", "size"]]
    assert found["d"] == 2
    assert found["missing"] == 3
    assert found["entropy"]["value"] == pytest.approx(float(fisher_shannon(whole, method="gaussian").entropy))


def test_windows_follow_a_signal(capsys, tmp_path):
    x = np.random.default_rng(1).standard_normal(300)
    x[150:260] = np.nan
    np.save(tmp_path / "signal.npy", x)
    status, out, _ = call(capsys, tmp_path / "signal.npy", "--window", "100", "--method", "gaussian")
    assert status == 0
    assert re.search(r"x0 +1–100 .*gaussian", out)
    assert re.search(r"201–300 +– .*no density", out)
    _, out, _ = call(
        capsys, tmp_path / "signal.npy", "--window", "100", "--step", "50", "--method", "gaussian", "--json"
    )
    (found,) = json.loads(out)["results"]
    assert [window["start"] for window in found["windows"]] == [0, 50, 100, 150, 200]
    assert found["windows"][3]["entropy"]["value"] is None


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_plane_is_drawn(capsys, table, tmp_path, suffix):
    picture = tmp_path / f"plane.{suffix}"
    status, _, err = call(capsys, table[0], "--method", "gaussian", "--plot", picture)
    assert status == 0
    assert str(picture) in err
    assert picture.stat().st_size > 5000


def test_trajectories_are_drawn(capsys, tmp_path):
    np.save(tmp_path / "signal.npy", np.random.default_rng(2).standard_normal(300))
    picture = tmp_path / "path.png"
    call(capsys, tmp_path / "signal.npy", "--window", "60", "--method", "gaussian", "--plot", picture)
    assert picture.exists()


def test_a_column_that_cannot_be_measured_does_not_stop_the_others(capsys, table, tmp_path):
    file, frame = table
    frame.assign(flat=1.0).to_csv(file, index=False)
    status, out, _ = call(capsys, file, "--method", "gaussian")
    assert status == 1
    assert re.search(r"height .*gaussian", out)
    assert re.search(r"flat .*not measured", out)
    assert "flat was not measured: `flat` must vary in every column, got constant flat" in out


def test_rounded_columns_are_dithered_if_asked(capsys, table):
    file, frame = table
    frame.round({"size": 1}).to_csv(file, index=False)
    status, out, _ = call(capsys, file, "--columns", "size")
    assert status == 1
    assert "repeated rows" in out
    assert call(capsys, file, "--columns", "size", "--ties", "dither", "--seed", "1")[0] == 0


def test_warnings_are_told_below_the_table(capsys, tmp_path):
    np.save(tmp_path / "edges.npy", np.random.default_rng(3).uniform(size=2000))
    status, out, err = call(capsys, tmp_path / "edges.npy")
    assert (status, err) == (0, "")
    assert out.count("seems to end in a jump") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "there is no such file"),
        ("data.xyz", b"1\n2\n", "the name must end in one of .csv"),
        ("empty.csv", b"", "not a readable .csv file"),
        ("header.csv", b"a,b\n", "it has no rows"),
        ("text.csv", b"a,b\nx,y\n", "no column holds numbers, as 'a' has 'x': see --separator"),
        ("remarks.csv", b"a\n1\n# later\n2\n", "no column holds numbers, as 'a' has '# later': see"),
        ("decimals.csv", b"a,b\n0,12,0,31\n", "rows have more fields than the line of names, 'a,b'"),
        ("longer.csv", b"a,b\n1,2,3\n4,5,6\n", "rows have more fields than the line of names, 'a,b'"),
        ("latin.csv", b"h\xf6he\n1\n", "it is not written in utf-8: try `--encoding latin-1`"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3,4\n", "not a readable .csv file"),
        ("broken.npy", b"not numpy", "not a readable .npy file"),
        ("broken.npz", b"PK\x03\x04", "not a readable .npz file"),
        ("broken.parquet", b"PAR1", "not a readable .parquet file"),
    ],
)
def test_bad_files_get_a_clear_message_and_status_two(capsys, tmp_path, name, content, message):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    status, out, err = call(capsys, file)
    assert status == 2
    assert out == ""
    assert err.startswith(f"infoplane: {file}: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--columns", "weight"], "no column 'weight'; it has 'name', 'height', 'size'"),
        (["--columns", "name"], "column 'name' does not hold numbers"),
        (["--step", "5"], "`--step` needs `--window`"),
        (["--level", "2"], "`--level` must lie in (0, 1), got 2.0"),
        (["--plot", "plane.bmp"], "`--plot` must end in .png, .svg or .pdf, got plane.bmp"),
        (["--method", "magic"], "invalid choice 'magic'"),
        (["--method", "stack"], "invalid choice 'stack'"),  # has no entropy
        (["--plot", "nowhere/plane.png"], "`--plot` must lie in a folder that can be written to"),
        (["--window", "0"], "`--window` must be at least 1, got 0"),
    ],
)
def test_bad_options_have_status_two(capsys, table, options, message):
    status, _, err = call(capsys, table[0], *options)
    assert status == 2
    assert message in err


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize(
    ("suffix", "separator"), [("csv", ","), ("tsv", "\t"), ("txt", " "), ("csv.gz", ",")]
)
def test_tables_are_read_with_and_without_a_header(tmp_path, bare, suffix, separator):
    frame = pd.DataFrame({"x0": [1.0, 2.5, np.nan], "x1": [3, 4, 5]})
    file = tmp_path / f"data.{suffix}"
    frame.to_csv(file, index=False, header=not bare, sep=separator, na_rep="nan")
    found = read_columns(file)
    assert list(found.values) == ["x0", "x1"]
    np.testing.assert_array_equal(found.values["x0"], frame["x0"])
    np.testing.assert_array_equal(found.values["x1"], frame["x1"])


@pytest.mark.parametrize(
    ("name", "content", "columns", "note"),
    [
        ("a.csv", "height;weight\n0,12;0,31\n", {"height": 0.12, "weight": 0.31}, "those of decimals"),
        ("a.csv", "0,12;0,31\n0,2;0,3\n", {"x0": 0.12, "x1": 0.31}, "separated by ';'"),
        ("a.csv", "h;w\n0.12;0.31\n", {"h": 0.12, "w": 0.31}, "separated by ';'"),
        ("a.csv", "h\tw\n1\t2\n", {"h": 1, "w": 2}, "separated by '\\t'"),
        ("a.csv", "a,b\n1,2,\n", {"a": 1, "b": 2}, None),
        ("a.csv", "h, w \n1, 2\n", {"h": 1, "w": 2}, None),
        ("a.csv", "# of 2019\n\nh,w\n1,2\n", {"h": 1, "w": 2}, None),
        ("a.csv", "\ufeffh,w\n1,2\n", {"h": 1, "w": 2}, None),
        ("a.csv", "2019,2020\n1,2\n", {"x0": 2019, "x1": 2020}, "2019,2020, was taken as data: see --header"),
        ("a.csv", "id,2020\n1,2\n", {"id": 1, "2020": 2}, "id,2020, was taken as names: see --header"),
        ("a.csv", ",h\n0,5\n1,6\n", {"h": 5}, "numbers the rows: left out"),
        ("a.csv", ",h\n7,5\n3,6\n", {"Unnamed: 0": 7, "h": 5}, None),
        ("a.csv", "a,b,\n1,2,\n", {"a": 1, "b": 2}, "without name and values: left out"),
        ("a.txt", "# p q r\n1 2 3\n", {"p": 1, "q": 2, "r": 3}, "from the comment '# p q r'"),
        ("a.txt", "# in metres\n1 2 3\n", {"x0": 1, "x1": 2, "x2": 3}, "was taken as data"),
        ("a.txt", "p q\n1 2 # doubtful\n", {"p": 1, "q": 2}, None),
    ],
)
def test_names_stand_above_their_own_numbers(tmp_path, name, content, columns, note):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    found = read_columns(file)
    assert {name: values[0] for name, values in found.values.items()} == columns
    assert bool(found.notes) == bool(note)
    assert note is None or any(note in said for said in found.notes)


def test_numpys_own_text_files_keep_their_names(tmp_path):
    numbers = np.random.default_rng(0).standard_normal((4, 3))
    np.savetxt(tmp_path / "t.txt", numbers, header="p q r")
    found = read_columns(tmp_path / "t.txt")
    np.testing.assert_array_equal(np.column_stack([found.values[name] for name in "pqr"]), numbers)


@pytest.mark.parametrize(
    ("content", "told", "columns"),
    [
        (b"2019,2020\n1,2\n", {"header": "yes"}, {"2019": 1, "2020": 2}),
        (b"a,1\n2,3\n", {"header": "no", "comment": None}, {"x1": 1}),
        (b"a|b\n0,5|1\n", {"separator": "|", "decimal": ","}, {"a": 0.5, "b": 1}),
        (b"a::b\n1::2\n", {"separator": "::"}, {"a": 1, "b": 2}),
        (b"a,b\n1,2\n% later\n3,4\n", {"comment": "%"}, {"a": 1, "b": 2}),
        (b"h\xf6he\n1\n", {"encoding": "latin-1"}, {"h\u00f6he": 1}),
        ("h,w\n1,2\n".encode("utf-16"), {"encoding": "utf-16"}, {"h": 1, "w": 2}),
    ],
)
def test_what_is_told_of_a_text_is_not_guessed(tmp_path, content, told, columns):
    file = tmp_path / "data.csv"
    file.write_bytes(content)
    found = read_columns(file, text=TextFormat(**told))
    assert {name: values[0] for name, values in found.values.items()} == columns
    assert not found.notes


def test_guesses_are_told_beside_the_figures_and_options_overrule_them(capsys, tmp_path):
    file = tmp_path / "data.csv"
    rows = np.random.default_rng(5).standard_normal(50)
    file.write_text("1980;1990\n" + "".join(f"{x:.6f};{x**3:.6f}\n".replace(".", ",") for x in rows))
    told = ("--separator", ";", "--decimal", ",", "--header", "yes", "--encoding", "ascii", "--comment", "#")
    status, out, err = call(capsys, file, "--json", "--method", "gaussian")
    assert status == 0
    assert json.loads(out)["rows"] == 51
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["data.csv"] * 3
    assert json.loads(out)["notes"] == [line.partition(": ")[2] for line in err.splitlines()]
    _, out, err = call(capsys, file, "--json", "--method", "gaussian", *told)
    assert [found["columns"] for found in json.loads(out)["results"]] == [["1980"], ["1990"]]
    assert err == ""


def test_names_with_commas_stay_whole(capsys, tmp_path):
    frame = pd.DataFrame(np.random.default_rng(6).standard_normal((50, 2)), columns=["height, cm", "weight"])
    frame.to_csv(tmp_path / "data.csv", index=False)
    _, out, _ = call(capsys, tmp_path / "data.csv", "--jointly", "--json", "--method", "gaussian")
    assert json.loads(out)["results"][0]["columns"] == ["height, cm", "weight"]


def test_messages_name_the_column_and_the_options_of_the_command(capsys, tmp_path):
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "steep": rng.uniform(size=2000),
            "kink": rng.gamma(2.0, size=2000),
            "tied": rng.standard_normal(2000).round(1),
            "void": np.nan,
        }
    )
    frame.to_csv(tmp_path / "data.csv", index=False)
    _, out, _ = call(capsys, tmp_path / "data.csv")
    assert "steep: the density of `steep` seems to end" in out
    assert "kink: the Fisher information of `kink` still rises" in out
    assert "`--ties dither` resolves them" in out
    assert "void was not measured: all its values are missing" in out
    assert not re.search(r"`x`|interval\(|rng|\w=\"", out)
    both = ("--columns", "tied", "kink", "--jointly", "--window", "3000")
    _, out, _ = call(capsys, tmp_path / "data.csv", *both)
    assert "`tied, kink` must have at least `--window` = 3000 rows, got 2000" in out
    frame.assign(flat=1.0).to_csv(tmp_path / "data.csv", index=False)
    _, out, _ = call(capsys, tmp_path / "data.csv", "--columns", "kink", "flat", "--jointly")
    assert "got constant flat" in out


def test_rows_that_fill_no_window_are_counted(capsys, tmp_path):
    np.save(tmp_path / "signal.npy", np.random.default_rng(8).standard_normal(330))
    arguments = (tmp_path / "signal.npy", "--method", "gaussian", "--window", "100")
    assert "x0: the last 30 rows fill no window" in call(capsys, *arguments)[1]
    assert "fill no window" not in call(capsys, *arguments, "--step", "10")[1]


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(
    capsys, table, tmp_path, monkeypatch
):
    monkeypatch.setattr("infoplane.cli.fisher_shannon", lambda *_, **__: pytest.fail("measured"))
    status, out, _ = call(capsys, table[0], "--plot", tmp_path / "nowhere" / "plane.png")
    assert (status, out) == (2, "")


def test_parquet_and_nullable_columns_are_read(tmp_path):
    frame = pd.DataFrame(
        {"a": pd.array([1, None, 3], dtype="Int64"), "b": ["x", "y", "z"], "c": [True, False, True]}
    )
    frame.to_parquet(tmp_path / "data.parquet")
    found = read_columns(tmp_path / "data.parquet")
    np.testing.assert_array_equal(found.values["a"], [1, math.nan, 3])
    assert found.left_out == ("b", "c")


def test_numpy_archives_have_their_entries_as_columns(tmp_path):
    np.savez(tmp_path / "data.npz", one=np.arange(3.0), two=np.arange(6).reshape(3, 2))
    assert list(read_columns(tmp_path / "data.npz").values) == ["one", "two0", "two1"]
    np.savez(tmp_path / "odd.npz", one=np.arange(3.0), two=np.arange(4.0))
    with pytest.raises(UnreadableFileError, match=r"its arrays must have one length, got \[3, 4\]"):
        read_columns(tmp_path / "odd.npz")
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    with pytest.raises(UnreadableFileError, match=r"must have shape \(n,\) or \(n, c\), got \(2, 2, 2\)"):
        read_columns(tmp_path / "cube.npy")
