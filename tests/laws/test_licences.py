"""NOTICE names the licence of every package that is installed with this one."""

from tests.laws.licences import ROOT, licence_of, locked, noted
from tests.laws.sbom import bill


def test_every_locked_package_has_its_licence_in_notice() -> None:
    found = noted((ROOT / "NOTICE").read_text())
    assert sorted(found) == locked(), "`python -m tests.laws.licences` writes them anew"
    assert len(found) > 50
    assert [name for name, licence in found.items() if licence == "unknown"] == []
    assert found["numpy"] == licence_of("numpy")


def test_the_bill_of_materials_lists_every_pin_once() -> None:
    components = bill()["components"]
    assert {component["name"] for component in components} == set(locked())
    assert len({component["bom-ref"] for component in components}) == len(components)
    (torch,) = [component for component in components if component["name"] == "torch"]
    assert torch["purl"] == f"pkg:pypi/torch@{torch['version']}"
    assert torch["licenses"][0]["license"]["name"] == noted((ROOT / "NOTICE").read_text())["torch"]
