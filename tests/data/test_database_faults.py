"""What is wrong with a downloaded database is one clear error, which names the file."""

import re
from pathlib import Path

import databases
import numpy as np
import openpyxl
import pytest
import scipy.io
from databases import Row, write_mat, write_sheets

from glintiqa_jax.data.databases import DATABASES, read_database
from glintiqa_jax.errors import InputError

every_database = pytest.mark.parametrize("name", DATABASES)
both_ways = pytest.mark.parametrize("on_bad_image", ["fail", "skip"])


def make_kadid(folder: Path, scores: dict[str, object]) -> Path:
    """``scores`` by name, as they stand in the table; its path."""
    table = [(name, "I01.png", score, 0.0) for name, score in scores.items()]
    databases.write_table(folder / "dmos.csv", ["dist_img", "ref_img", "dmos", "var"], table)
    databases.write_stand_ins(folder / "images", [name for name in scores if name.startswith("I")])
    return folder / "dmos.csv"


NINE = {f"I01_01_{level:02d}.png": 3 for level in range(1, 10)}


def test_unknown_databases_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"dataset=cifar10: expected one of live, .*, or csv"):
        read_database("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("place", "found"), [("nowhere", "nothing there"), ("file.txt", "a file"), ("empty", "an empty folder")]
)
def test_sources_that_are_no_database(tmp_path, place, found):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"source=.*{place}: .* downloaded database, found {found}"):
        read_database("kadid10k", tmp_path / place)


def test_no_source_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    databases.write_sample("kadid10k", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected the folder of a downloaded database, found nothing given"):
        read_database("kadid10k", "")


@every_database
def test_a_folder_without_tables_says_what_was_looked_for(tmp_path, name):
    databases.write_stand_ins(tmp_path, ["one.png", "two.png"])
    first = {"pipal": "Train_Label/*.txt", "saqt": "one *.csv file"}.get(name, TABLES[name][0].removeprefix("Data/"))
    first = first.removeprefix("Annotations/")
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}.*expected {re.escape(first)}"):
        read_database(name, tmp_path)


def test_missing_images_are_counted_and_the_first_five_named(tmp_path):
    make_kadid(tmp_path, NINE)
    for name in list(NINE)[2:]:
        (tmp_path / "images" / name).unlink()
    with pytest.raises(InputError) as caught:
        read_database("kadid10k", tmp_path)
    message = str(caught.value)
    assert "7 of 9 scored images" in message
    assert "I01_01_03.png, I01_01_04.png, I01_01_05.png, I01_01_06.png, I01_01_07.png, ..." in message
    assert "I01_01_08.png" not in message
    assert "`on_bad_image='skip'`" in message


def test_missing_images_are_left_out_on_request(tmp_path):
    make_kadid(tmp_path, NINE)
    for name in list(NINE)[2:]:
        (tmp_path / "images" / name).unlink()
    collection = read_database("kadid10k", tmp_path, on_bad_image="skip")
    assert [image.name for image in collection.images()] == ["I01_01_01.png", "I01_01_02.png"]
    assert (collection.size, len(collection.missing)) == (2, 7)
    assert [line.split(":")[0] for line in collection.missing] == list(NINE)[2:]
    assert "found 2" in collection.notes[0]


@every_database
@both_ways
def test_nothing_is_left_where_all_images_are_missing(tmp_path, name, on_bad_image):
    databases.write_sample(name, tmp_path)
    for path in list(tmp_path.rglob("*")):
        if path.suffix.lower() in (".bmp", ".png", ".jpg"):
            path.unlink()
    count = len(DATABASES[name].sample.images)
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}: {count} of {count} scored images .*not there"):
        read_database(name, tmp_path, on_bad_image=on_bad_image)


@pytest.mark.parametrize("score", [0.99, 5.01, -3, 100])
def test_scores_out_of_range_are_refused(tmp_path, score):
    make_kadid(tmp_path, {"I01_01_01.png": 1, "I01_01_02.png": 5, "I01_01_03.png": score})
    with pytest.raises(InputError, match=rf"{tmp_path}.* from 1 to 5, found {score:g} for I01_01_03.png"):
        read_database("kadid10k", tmp_path)


def test_scores_in_matlab_files_that_are_no_numbers_are_refused(tmp_path):
    databases.clive(tmp_path, [Row("10.bmp", np.nan), Row("11.bmp", 50.0)])
    with pytest.raises(InputError, match=r"found nan for 10\.bmp"):
        read_database("clive", tmp_path)


def test_tables_of_practice_images_only_are_refused(tmp_path):
    databases.clive(tmp_path, [])
    with pytest.raises(InputError, match=r"AllImages_release"):
        read_database("clive", tmp_path)


def test_a_name_twice_is_refused(tmp_path):
    table = make_kadid(tmp_path, NINE)
    table.write_text(table.read_text() + "I01_01_02.png,I01.png,4,0\n")
    with pytest.raises(InputError, match=rf"{tmp_path}: 'I01_01_02.png' is named a second time"):
        read_database("kadid10k", tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "variable"),
    [
        ("live", "dmos_realigned.mat", "dmos_new"),
        ("live", "dmos_realigned.mat", "orgs"),
        ("live", "refnames_all.mat", "refnames_all"),
        ("livemd", "Part 2/Scores.mat", "DMOSscores"),
        ("clive", "Data/AllMOS_release.mat", "AllMOS_release"),
        ("clive", "Data/AllStdDev_release.mat", "AllStdDev_release"),
    ],
)
@pytest.mark.parametrize("fault", ["one entry less", "no such variable"])
def test_matlab_files_that_do_not_fit(tmp_path, name, file, variable, fault):
    databases.write_sample(name, tmp_path)
    content = {key: value for key, value in scipy.io.loadmat(tmp_path / file).items() if not key.startswith("__")}
    values = content.pop(variable)
    if fault == "one entry less":
        content[variable] = values.reshape(1, -1)[:, :-1]
        message = rf"expected {values.size} entries.*found {values.size - 1}"
    else:
        content["renamed"] = values
        message = rf"expected a variable '{variable}', found .*renamed"
    write_mat(tmp_path / file, **content)
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path / file))}: {message}"):
        read_database(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "file"), [("livemd", "Part 1/Imagelists.mat"), ("clive", "Data/AllImages_release.mat")]
)
def test_a_list_of_names_without_its_variable(tmp_path, name, file):
    databases.write_sample(name, tmp_path)
    write_mat(tmp_path / file, other=[1.0, 2.0])
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path / file))}: expected a variable '.*', found other"):
        read_database(name, tmp_path)


TABLES = {
    name: [file for file in row.sample.tables if "_std" not in file and "Scene" not in file]
    for name, row in DATABASES.items()
}
HDF5 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(64)
BROKEN = {
    "an empty file": b"",
    "a web page": "<html><body>Error 404: café</body></html>".encode("latin-1"),
    "half a zip": b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe",
    "a newer MATLAB file": HDF5,
}


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in TABLES.items() for file in files])
@pytest.mark.parametrize("content", BROKEN)
def test_broken_tables_are_refused_by_name(tmp_path, name, file, content):
    databases.write_sample(name, tmp_path)
    (tmp_path / file).write_bytes(BROKEN[content])
    with pytest.raises(InputError, match=re.escape(str(tmp_path / file))):
        read_database(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [
        ("kadid10k", "dmos.csv", "dist_img"),
        ("kadid10k", "dmos.csv", "ref_img"),
        ("kadid10k", "dmos.csv", "dmos"),
        ("koniq10k", "koniq10k_distributions_sets.csv", "MOS"),
        ("koniq10k", "koniq10k_distributions_sets.csv", "SD"),
        ("koniq10k", "koniq10k_distributions_sets.csv", "set"),
        ("flive", "labels_image.csv", "mos"),
        ("agiqa3k", "data.csv", "prompt"),
        ("saqt", "labels.csv", "quality_score"),
        ("biq2021", "Train (Images and MOS).csv", "MOS"),
        ("biq2021", "Test (Images and MOS).csv", "Image Name"),
    ],
)
def test_missing_columns_are_named(tmp_path, name, file, column):
    databases.write_sample(name, tmp_path)
    header, *rows = databases.read_table(tmp_path / file)
    header[header.index(column)] = "renamed"
    databases.write_table(tmp_path / file, header, rows)
    with pytest.raises(
        InputError, match=rf"{re.escape(str(tmp_path / file))}: expected .*{column[:5]}.*found .*renamed"
    ):
        read_database(name, tmp_path)


def test_missing_sheets_and_columns_of_excel_files_are_named(tmp_path):
    databases.write_sample("csiq", tmp_path / "csiq")
    table = tmp_path / "csiq" / "csiq.DMOS.xlsx"
    write_sheets(table, {"all_by_distortion": [["image", "dmos"]], "README": [["x"]]})
    with pytest.raises(InputError, match=rf"{table}: expected a sheet 'all_by_image', found all_by_distortion, README"):
        read_database("csiq", tmp_path / "csiq")
    write_sheets(table, {"all_by_image": [["image", "dst_type", "dmos"], ["1600", "noise", 0.5]]})
    with pytest.raises(InputError, match=rf"{table}, sheet 'all_by_image': expected columns .*dst_lev"):
        read_database("csiq", tmp_path / "csiq")
    databases.write_sample("spaq", tmp_path / "spaq")
    table = tmp_path / "spaq" / "Annotations" / "MOS and Image attribute scores.xlsx"
    write_sheets(table, {"Sheet1": [["Image name", "Score"], ["00001.jpg", 50]]})
    with pytest.raises(InputError, match=rf"{table}: expected one column 'MOS', found Image name, Score"):
        read_database("spaq", tmp_path / "spaq")
    write_sheets(table, {"Sheet1": []})
    with pytest.raises(InputError, match=rf"{table}: expected one row per image, found an empty sheet"):
        read_database("spaq", tmp_path / "spaq")


@pytest.mark.parametrize("dimension", [True, False], ids=["with a dimension", "without one"])
@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("csiq", "csiq.DMOS.xlsx", [["image", "dst_type", "dst_lev", "dmos"], ["1600"]]),
        ("spaq", "MOS and Image attribute scores.xlsx", [["Image name", "MOS"], ["00001.jpg"]]),
        ("bid", "DatabaseGrades.xlsx", [["Image Number", "Grade"], [1]]),
    ],
)
def test_short_rows_of_excel_files_are_refused(tmp_path, name, file, rows, dimension):
    # Files of some writers do not say how wide a sheet is; its rows are then read as long as they are.
    book = openpyxl.Workbook(write_only=not dimension)
    sheet = book.create_sheet("all_by_image", 0)
    for row in rows:
        sheet.append(row)
    book.save(tmp_path / file)
    book.close()
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path / file))}.*line 2"):
        read_database(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("kadid10k", "dmos.csv", "4.57", "good", r"line 2, column 'dmos': expected a number, found 'good'"),
        ("kadid10k", "dmos.csv", "4.57", "", r"line 2, column 'dmos': expected a number, found ''"),
        ("kadid10k", "dmos.csv", ",4.57,1.0", "", r"line 2: expected 4 fields, found fewer"),
        ("kadid10k", "dmos.csv", "4.57,1.0", "4.57,wide", r"line 2, column 'var': expected a number, found 'wide'"),
        (
            "kadid10k",
            "dmos.csv",
            "I01_01_01.png",
            "first.png",
            r"expected names REFERENCE_TYPE_LEVEL, found 'first.png'",
        ),
        ("koniq10k", "koniq10k_distributions_sets.csv", "training", "dve", r"line 2, column 'set'.*found 'dve'"),
        ("koniq10k", "koniq10k_distributions_sets.csv", "77.3836206897", "inf", r"line 2, column 'MOS'.*found 'inf'"),
        ("tid2013", "mos_with_names.txt", "5.56757 ", "", r"line 2: expected 2 fields, found 1"),
        ("tid2013", "mos_with_names.txt", "5.56757", "high", r"line 2, column 'MOS': .* found 'high'"),
        ("tid2013", "mos_with_names.txt", "I01_01_2", "I01", r"expected names REFERENCE_TYPE_LEVEL, found 'I01.bmp'"),
        ("pipal", "Train_Label/A0001.txt", ",916.7136", "", r"line 2, column 'score': expected a number, found ''"),
        ("biq2021", "Test (Images and MOS).csv", ",0.0", "", r"line 2: expected 2 fields, found fewer"),
        ("agiqa3k", "data.csv", "0.223270101", "-", r"line 2, column 'std_quality': expected a number, found '-'"),
        ("saqt", "labels.csv", "I01.png,1,3", "I01.png,blur,3", r"line 2, column 'distortion_type'.*found 'blur'"),
    ],
)
def test_bad_rows_are_refused_by_line(tmp_path, name, file, old, new, message):
    databases.write_sample(name, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path / file))}.*{message}"):
        read_database(name, tmp_path)


def test_rows_that_end_before_the_name_are_refused(tmp_path):
    databases.write_sample("biq2021", tmp_path)
    table = tmp_path / "Test (Images and MOS).csv"
    table.write_text("MOS,Image Name\n0.5\n")
    with pytest.raises(InputError, match=rf"{re.escape(str(table))}, line 2"):
        read_database("biq2021", tmp_path)


def test_bad_lines_of_the_list_of_csiq_are_refused(tmp_path):
    databases.csiq_list(tmp_path, [Row("1600.AWGN.1.png", 0.5)])
    table = tmp_path / "csiq_label.txt"
    for text, message in [
        ("1600.AWGN.1.png 0.5 0.1\n", "line 1: expected 2 fields, found 3"),
        ("1600.AWGN.1.png much\n", "line 1, column 'DMOS': expected a number, found 'much'"),
        ("1600.HAZE.1.png 0.5\n", "expected names such as 1600.AWGN.1.png, found '1600.HAZE.1.png'"),
        ("1600.AWGN.one.png 0.5\n", "line 1, column 'level': expected a number, found 'one'"),
    ]:
        table.write_text(text)
        with pytest.raises(InputError, match=f"{table}.*{message}"):
            read_database("csiq", tmp_path)


@pytest.mark.parametrize("name", ["kadid10k", "tid2013", "bid"])
def test_lines_are_counted_as_an_editor_counts_them(tmp_path, name):
    file = TABLES[name][0]
    databases.write_sample(name, tmp_path)
    if name == "kadid10k":
        header, first, _ = databases.read_table(tmp_path / file)
        databases.write_table(
            tmp_path / file, header, [first, ["", "", "", ""], ["I81_25_05.png", "I81.png", "x", "0"]]
        )
    elif name == "tid2013":
        (tmp_path / file).write_text("\n4.5 I01_01_1.bmp\n\nx I01_01_2.bmp\n")
    else:
        write_sheets(tmp_path / file, {"Plan1": [["Image Number", "Grade"], [456, 3.1], [None, None], [1, "x"]]})
    with pytest.raises(InputError, match=r"line 4, .*expected a number, found 'x'"):
        read_database(name, tmp_path)
