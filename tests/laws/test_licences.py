"""NOTICE names the licence of every package that is installed with this one."""

from tests.laws.licences import ROOT, licence_of, locked, noted


def test_every_locked_package_has_its_licence_in_notice() -> None:
    found = noted((ROOT / "NOTICE").read_text())
    assert sorted(found) == locked(), "`python -m tests.laws.licences` writes them anew"
    assert len(found) > 50
    assert [name for name, licence in found.items() if licence == "unknown"] == []
    assert found["numpy"] == licence_of("numpy")
