"""Vendored files are what VENDORED.yaml says, all of them and nothing else."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="module")
def vendor(root: Path) -> Path:
    return root / "book" / "static" / "vendor"


@pytest.fixture(scope="module")
def packages(vendor: Path) -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = yaml.safe_load((vendor / "VENDORED.yaml").read_text())
    return packages


def test_every_file_has_its_checksum(vendor: Path, packages: list[dict[str, Any]]) -> None:
    stated = {name: digest for package in packages for name, digest in package["sha256"].items()}
    found = {
        path.relative_to(vendor).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.name != "VENDORED.yaml"
    }
    assert found == stated


def test_every_package_has_version_and_licence(vendor: Path, packages: list[dict[str, Any]]) -> None:
    for package in packages:
        assert package["version"] and package["licence"] and package["source"], package["name"]
        assert (vendor / package["licence_file"]).stat().st_size > 500, package["name"]
