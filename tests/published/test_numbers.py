"""The numbers themselves, typed a second time; and how many there are of each table."""

from __future__ import annotations

import pytest

from orc_repro.published.tables import Metric, find_cell, find_table, load_tables

TABLES = load_tables()
ACC1: Metric = "top1_accuracy_percent"
ACC5: Metric = "top5_accuracy_percent"
ERR1: Metric = "top1_error_percent"
ERR5: Metric = "top5_error_percent"
R34 = "resnet34 -> resnet18"
CHAIN = "resnet26 -> resnet20 -> resnet14 -> resnet8"
SAME, OTHER = "peers_crd_same_style", "peers_crd_other_style"


# Counted in the tables that were read, not in the files: cells, and those with a number.
@pytest.mark.parametrize(
    ("table", "cells", "numbers"),
    [
        ("table01", 1 + 3, 3),
        ("table02", 1, 0),
        ("table03", 2 * 4, 8),
        ("table04", 2, 2),
        ("table05", 2, 0),
        ("table06", 2, 0),
        ("table07", 3, 0),
        ("table08", 1, 0),
        ("table09", 3, 0),
        ("table10", 2, 0),
        # 17 full rows of 7; FSP, KD+CTKD, DKD and both of KDCL of 6; two more of KDCL; 3 of one.
        (SAME, 17 * 7 + 3 * 6 + 2 * 6 + 2 + 3, 154),
        # 14 full rows of 6 and both of KDCL; DKD's 4; two that are doubted.
        (OTHER, 14 * 6 + 2 * 6 + 4 + 2, 102),
        ("peers_sskd", 11 * 5, 55),
        ("peers_hsakd", 10 * 4, 40),
        ("peers_packd", 5 * 6, 30),
        # SemCKD's 2 + 6 + 2 + 2 and SimKD's 4, of which they share one.
        ("peers_semckd", 12 + 4 - 1, 15),
        # 12 rows of 4, a second top-5 of KD; ReviewKD, mdistiller, CTKD, torchdistill, FFSD.
        ("peers_imagenet", (12 * 4 + 1) + 2 + 4 + (8 + 2) + (7 + 1) + 2 + 2, 75),
        ("peers_online_pcl", 4 * 7, 28),
        ("peers_online_pcl_cifar10", 2 * 7, 14),
        ("peers_online", 5 + 5 * 3 + 6 + 2, 28),
        ("peers_online_cifar10", 6, 6),
        ("peers_small", 1 + 2 + 2 + 2, 7),
        ("peers_plain", 4, 4),
    ],
)
def test_how_many(table: str, cells: int, numbers: int) -> None:
    found = find_table(TABLES, table)
    assert (len(found.cells), found.numbers) == (cells, numbers)


def test_no_table_is_left_out_of_the_count() -> None:
    assert len(TABLES) == 23
    assert [t.number for t in TABLES if t.number is not None] == list(range(1, 11))
    own = [t for t in TABLES if t.number is not None]
    assert sum(t.numbers for t in own) == 3 + 8 + 2
    assert sum(t.numbers for t in TABLES) - sum(t.numbers for t in own) == 558


@pytest.mark.parametrize(
    ("table", "row", "networks", "metric", "value"),
    [
        ("table03", "ORC", R34, ERR1, 28.00),
        ("table03", "ORC", R34, ERR5, 9.13),
        ("table03", "student", R34, ERR1, 30.25),
        ("table03", "student", R34, ERR5, 10.93),
        ("table03", "ORC", R34, ACC1, 72.00),
        ("table03", "ORC", R34, ACC5, 90.87),
        ("table03", "student", R34, ACC1, 69.75),
        ("table03", "student", R34, ACC5, 89.07),
        ("table01", "ORC, as one note has it", "resnet26 -> resnet8", ACC1, 92.82),
        ("table01", "TAKD", "resnet26 -> resnet8", ACC1, 88.01),
        ("table01", "DGKD", "resnet26 -> resnet8", ACC1, 89.02),
        ("table04", "TAKD", "wrn_40_2 -> wrn_16_2", ACC1, 75.04),
        ("table04", "DGKD", "wrn_40_2 -> wrn_16_2", ACC1, 76.24),
        (SAME, "teacher", "vgg13 -> vgg8", ACC1, 74.64),
        (SAME, "student", "resnet110 -> resnet32", ACC1, 71.14),
        (SAME, "KD", "resnet110 -> resnet20", ACC1, 70.67),
        (SAME, "FSP", "resnet56 -> resnet20", ACC1, 69.95),
        (SAME, "NST", "wrn_40_2 -> wrn_40_1", ACC1, 72.24),
        (SAME, "CRD", "resnet32x4 -> resnet8x4", ACC1, 75.51),
        (SAME, "CRD+KD", "vgg13 -> vgg8", ACC1, 74.29),
        (SAME, "KD+CTKD", "vgg13 -> vgg8", ACC1, 73.52),
        (SAME, "DKD", "resnet110 -> resnet32", ACC1, 74.11),
        (SAME, "MixUp", "resnet32x4 -> resnet8x4", ACC1, 76.73),
        (SAME, "MixUp+KD", "wrn_40_2 -> wrn_16_2", ACC1, 76.58),
        (SAME, "KDCL, student", "wrn_40_2 -> wrn_40_1", ACC1, 73.12),
        (SAME, "KDCL, teacher", "vgg13 -> vgg8", ACC1, 76.53),
        (SAME, "KDCL, student", "wrn_40_2 -> wrn_16_1", ACC1, 67.73),
        (SAME, "Ensemble of 5 teachers", "wrn_40_2 -> wrn_16_2", ACC1, 76.31),
        (OTHER, "AT", "ResNet50 -> mobilenetv2", ACC1, 58.58),
        (OTHER, "NST", "wrn_40_2 -> shufflenetv1", ACC1, 74.89),
        (OTHER, "DKD", "wrn_40_2 -> shufflenetv1", ACC1, 76.70),
        (OTHER, "DKD", "resnet32x4 -> mobilenetv2", ACC1, 77.07),
        (OTHER, "KDCL, teacher", "ResNet50 -> vgg8", ACC1, 80.46),
        ("peers_sskd", "AB", "wrn_40_2 -> wrn_16_2", ACC1, 68.89),
        ("peers_sskd", "SSKD", "vgg13 -> vgg8", ACC1, 75.33),
        ("peers_hsakd", "SSKD", "resnet56 -> resnet20", ACC1, 70.80),
        ("peers_hsakd", "HSAKD", "resnet32x4 -> resnet8x4", ACC1, 77.26),
        ("peers_packd", "PACKD", "resnet110 -> resnet32", ACC1, 75.31),
        ("peers_packd", "WCoRD", "vgg13 -> vgg8", ACC1, 74.72),
        ("peers_semckd", "SemCKD", "resnet32x4 -> shufflenetv2", ACC1, 77.62),
        ("peers_semckd", "SimKD", "resnet32x4 -> resnet8x4", ACC1, 78.08),
        ("peers_imagenet", "teacher", R34, ERR1, 26.69),
        ("peers_imagenet", "KD", R34, ACC5, 89.88),
        ("peers_imagenet", "KD as PACKD prints it", R34, ACC5, 89.98),
        ("peers_imagenet", "SSKD", R34, ERR5, 9.33),
        ("peers_imagenet", "DKD+CTKD", R34, ACC5, 90.47),
        ("peers_imagenet", "PAD (torchdistill)", R34, ACC1, 71.71),
        ("peers_imagenet", "FFSD, leader", "resnet18", ERR1, 29.13),
        ("peers_online_pcl", "FFL-S", "vgg16", ACC1, 70.87),
        ("peers_online_pcl", "PCL", "wrn_20_8", ACC1, 80.51),
        ("peers_online_pcl_cifar10", "OKDDip", "resnet110", ACC1, 95.14),
        ("peers_online", "MCL, 4 networks", "resnet110", ACC1, 78.82),
        ("peers_online", "DML, second network", "resnet110 + resnet110", ACC1, 75.55),
        ("peers_online_cifar10", "DML, first network", "resnet110 + resnet20", ACC1, 94.45),
        ("peers_small", "alone", "resnet26", ACC1, 92.55),
        ("peers_small", "DGKD", CHAIN, ACC1, 89.02),
        ("peers_plain", "DGKD", "plane10 -> plane2, seven assistants", ACC1, 49.56),
    ],
)
def test_a_number(table: str, row: str, networks: str, metric: Metric, value: float) -> None:
    assert find_cell(find_table(TABLES, table), row, networks, metric).value == value


def test_only_the_readme_speaks_for_orc() -> None:
    stated = {
        (c.table, c.row, c.metric) for t in TABLES for c in t.cells if c.confidence == "stated"
    }
    assert stated == {
        ("table03", row, metric) for row in ("ORC", "student") for metric in (ERR1, ERR5)
    }
    doubted = {c.value for t in TABLES for c in t.cells if c.confidence == "doubted"}
    assert doubted == {92.82, 74.45, 77.07}
    orc = [c for t in TABLES for c in t.cells if c.row == "ORC" and c.value is not None]
    assert {c.table for c in orc} == {"table03"}


def test_an_error_is_the_complement_of_the_accuracy_beside_it() -> None:
    """So neither can stand in the other's column."""
    pairs = 0
    for table in TABLES:
        values = {
            (c.row, c.networks, c.metric): c.value for c in table.cells if c.value is not None
        }
        for (row, networks, metric), value in values.items():
            if metric in (ERR1, ERR5):
                accuracy = values[row, networks, ACC1 if metric == ERR1 else ACC5]
                assert round(value + accuracy, 6) == 100
                pairs += 1
    assert pairs == 4 + 12 * 2 + 1 + 2 + 4 + 1


def test_accuracies_and_errors_have_the_size_of_theirs() -> None:
    """On these datasets nothing published errs more often than not, but small plain networks."""
    for table in TABLES:
        for cell in table.cells:
            shown = cell.range or (cell.value,) * (cell.value is not None)
            for value in shown:
                assert cell.metric is not None and value is not None
                is_error = cell.metric in (ERR1, ERR5)
                assert value < 50 if is_error else value > (50 if table.id != "peers_plain" else 40)


def test_top5_is_above_top1() -> None:
    for table in TABLES:
        values = {(c.row, c.metric): c.value for c in table.cells if c.value is not None}
        for (row, metric), value in values.items():
            if metric == ACC5 and (row, ACC1) in values:
                assert value > values[row, ACC1]
            if metric == ERR5 and (row, ERR1) in values:
                assert value < values[row, ERR1]
