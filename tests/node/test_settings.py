"""The configuration: every fault at once, each with its file, its key and what would be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from scp_node.errors import Fault, SettingsError
from scp_node.settings import load_settings
from tests.node.command_line import write_config

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "config", tmp_path / "data")


def faults(config: Path) -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as refusal:
        load_settings(config, known_analyzers={"scintigraphy"})
    return refusal.value.faults


def change(config: Path, file: str, before: str, after: str) -> None:
    path = config / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def test_what_is_not_said_has_its_default(config: Path) -> None:
    settings = load_settings(config, known_analyzers={"scintigraphy"})

    assert settings.node.receiving.maximum_associations == 25
    assert settings.node.completion.quiet_ct_s == 120.0
    assert settings.peers["ct-1"].receives is False


def test_the_shipped_configuration_has_no_fault() -> None:
    settings = load_settings(REPOSITORY / "config", known_analyzers={"cta", "mri", "scintigraphy"})

    assert settings.release_peers == ("pacs",)


def test_faults_of_all_three_files_are_told_together(config: Path) -> None:
    change(config, "node.toml", "port = 11112", "port = 0")
    change(config, "peers.toml", '"CT_1"', '"A_TITLE_THAT_IS_TOO_LONG"')
    change(config, "routes.toml", '"scintigraphy"', '"doppler"')

    found = faults(config)

    assert {fault.file for fault in found} >= {"node.toml", "peers.toml"}
    assert all(fault.what and fault.key and fault.remedy for fault in found)


def test_faults_between_the_files_are_told_when_each_is_sound(config: Path) -> None:
    change(config, "routes.toml", '"scintigraphy"', '"doppler"')
    change(config, "routes.toml", 'deliver_to = ["pacs"]', 'deliver_to = ["ct-1"]')

    found = {fault.key: fault for fault in faults(config)}

    assert "installed are scintigraphy" in found["route.0.analyze"].remedy
    assert "peers with host and port are pacs" in found["deliver_to"].remedy


@pytest.mark.parametrize(
    ("file", "before", "after", "key"),
    [
        ("node.toml", "port = 11112", "port = 0", "receiving.port"),
        ("node.toml", "port = 11112", "port = 70000", "receiving.port"),
        ("node.toml", "port = 11112", 'port = "11112"', "receiving.port"),
        ("node.toml", "port = 11112", "prot = 11112", "receiving.prot"),
        ("node.toml", "port = 11112", "maximum_pdu_bytes = 100", "receiving.maximum_pdu_bytes"),
        ("node.toml", '["HAI_NODE"]', "[]", "receiving.ae_titles"),
        ("node.toml", '["HAI_NODE"]', '["HAI_NODE", "HAI_NODE"]', "receiving.ae_titles"),
        ("node.toml", '["HAI_NODE"]', '["A_TITLE_OF_17_CHR"]', "receiving.ae_titles.0"),
        ("node.toml", '["HAI_NODE"]', '[" BLANK_FIRST"]', "receiving.ae_titles.0"),
        ("node.toml", '["HAI_NODE"]', "['BACK\\SLASH']", "receiving.ae_titles.0"),
        ("node.toml", "[receiving]", "[analysis]\nmax_jobs = 0\n[receiving]", "analysis.max_jobs"),
        ("node.toml", "[receiving]", "[analysis]\nniceness = -5\n[receiving]", "analysis.niceness"),
        ("node.toml", "[receiving]", "[completion]\nquiet_ct_s = 0.0\n[receiving]", "completion.quiet_ct_s"),
        ("node.toml", "[receiving]", "[completion]\nquiet_s = 10.0\n[receiving]", "completion.quiet_s"),
        (
            "node.toml", "[receiving]", "[completion]\nquiet_when_complete_s = 300.0\n[receiving]",
            "completion.quiet_when_complete_s",
        ),
        ("node.toml", "[receiving]", "[delivery]\njitter_fraction = 2.0\n[receiving]", "delivery.jitter_fraction"),
        ("node.toml", "[receiving]", "[retention]\nheld_d = 5.0\n[receiving]", "retention.held_warning_d"),
        ("node.toml", "[receiving]", '[objects]\ntimezone = "Mars"\n[receiving]', "objects.timezone"),
        ("node.toml", "[receiving]", 'log_level = "loud"\n[receiving]', "log_level"),
        ("node.toml", "data_folder", "# data_folder", "data_folder"),
        ("peers.toml", '"CT_1"', '""', "peer.ct-1.ae_title"),
        ("peers.toml", '["127.0.0.1"]', '["10.1.2.300"]', "peer.ct-1.addresses"),
        ("peers.toml", '["127.0.0.1"]', "[]", "peer.ct-1"),
        ("peers.toml", "port = 4242", "", "peer.pacs"),
        ("peers.toml", "port = 4242", 'port = 4242\nverification = "trust"', "peer.pacs.verification"),
        ("peers.toml", "port = 4242", 'port = 4242\nobjects = ["pdf"]', "peer.pacs.objects.0"),
        ("peers.toml", '"PACS"', '"CT_1"\nmay_send = true', "peer.pacs.ae_title"),
        ("routes.toml", 'name = "pump"', 'name = "Pump Study"', "route.0.name"),
        ("routes.toml", 'matches = "HAI"', 'matches = "HAI("', "route.0.when.matches"),
        ("routes.toml", '"StudyDescription"', '"StudyDescriptions"', "route.0.when.attribute"),
        ("routes.toml", ', matches = "HAI"', "", "route.0.when"),
        ("routes.toml", 'analyze = ["scintigraphy"]', "", "route.0"),
        ("routes.toml", 'analyze = ["scintigraphy"]', 'analyze = ["cta"]', "route.0.analyze"),
        ("routes.toml", "deliver_to", "deliver_too", "deliver_too"),
    ],
)  # fmt: skip
def test_a_bad_value_is_found_at_its_key(config: Path, file: str, before: str, after: str, key: str) -> None:
    change(config, file, before, after)

    found = faults(config)

    assert (file, key) in {(fault.file, fault.key) for fault in found}
    assert all(fault.remedy for fault in found)


def test_a_misspelt_attribute_is_answered_with_the_right_one(config: Path) -> None:
    change(config, "routes.toml", '"StudyDescription"', '"StudyDescriptions"')

    assert "did you mean StudyDescription" in faults(config)[0].remedy


def test_a_file_that_is_not_toml_is_told_with_its_line(config: Path) -> None:
    (config / "peers.toml").write_text("[peer.pacs\n", encoding="utf-8")

    (fault,) = faults(config)

    assert fault.file == "peers.toml"
    assert "line 1" in fault.what


def test_a_data_folder_inside_the_program_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", REPOSITORY / "data")

    (fault,) = faults(config)

    assert (fault.key, fault.what) == ("data_folder", "lies inside the program's folder")


def test_a_relative_data_folder_is_refused(tmp_path: Path) -> None:
    (fault,) = faults(write_config(tmp_path / "config", Path("data")))

    assert fault.key == "data_folder"
    assert "/var/lib/hai-node" in fault.remedy


def test_a_site_without_thresholds_has_none_and_the_shipped_file_sets_none(config: Path) -> None:
    shipped = load_settings(REPOSITORY / "config", check_thresholds=lambda _tables: pytest.fail("nothing to check"))

    assert shipped.thresholds == load_settings(config).thresholds == {}


def test_faults_of_thresholds_are_told_with_all_others(config: Path) -> None:
    (config / "thresholds.toml").write_text("[cta.liver]\nvolume_ml = [4000, 500]\n", encoding="utf-8")
    change(config, "node.toml", "port = 11112", "port = 0")
    asked = []

    def check(tables: Mapping[str, Any]) -> Sequence[Fault]:
        asked.append(tables)
        return [Fault(what="descends", file="thresholds.toml", key="cta.liver.volume_ml", remedy="turn it round")]

    with pytest.raises(SettingsError) as refusal:
        load_settings(config, check_thresholds=check)

    assert [fault.key for fault in refusal.value.faults] == ["receiving.port", "cta.liver.volume_ml"]
    assert asked == [{"cta": {"liver": {"volume_ml": [4000, 500]}}}]


@pytest.mark.parametrize("content", ["[cta", "cta = 3"])
def test_thresholds_are_tables_of_toml(config: Path, content: str) -> None:
    (config / "thresholds.toml").write_text(content, encoding="utf-8")

    assert {fault.file for fault in faults(config)} == {"thresholds.toml"}


def test_the_digest_of_the_configuration_covers_the_thresholds(config: Path) -> None:
    before = load_settings(config).digest
    (config / "thresholds.toml").write_text("[cta.liver]\nvolume_ml = [400, 5000]\n", encoding="utf-8")

    assert load_settings(config).digest != before
    assert load_settings(config).thresholds == {"cta": {"liver": {"volume_ml": [400, 5000]}}}


@pytest.mark.parametrize(
    ("file", "before", "after", "key", "remedy"),
    [
        ("node.toml", "port = 11112", "prot = 11112", "receiving.prot", "did you mean port?"),
        ("node.toml", "port = 11112", 'port = "11112"', "receiving.port", "write a whole number, without quotes"),
        ("peers.toml", 'host = "127.0.0.1"', 'hots = "127.0.0.1"', "peer.pacs.hots", "did you mean host?"),
        ("peers.toml", "may_send = true", 'may_send = "yes"', "peer.ct-1.may_send", "write true or false"),
        ("peers.toml", "port = 4242", "port = 4242\ncounts_instances = true", "peer.pacs", "needs may_send"),
    ],
)  # fmt: skip
def test_a_fault_says_in_plain_words_what_would_be_right(
    config: Path, file: str, before: str, after: str, key: str, remedy: str
) -> None:
    change(config, file, before, after)

    assert remedy in {fault.key: fault.remedy for fault in faults(config)}[key]


@pytest.mark.parametrize("key", ["called_ae", "calling_ae"])
def test_a_route_that_asks_for_a_title_that_nobody_has_is_a_fault(config: Path, key: str) -> None:
    change(
        config,
        "routes.toml",
        '{ attribute = "StudyDescription", matches = "HAI" }',
        f'{{ none = [{{ {key} = ["HAI_FORCE"] }}] }}',
    )

    (fault,) = faults(config)

    assert (fault.file, fault.key) == ("routes.toml", "route.0.when")
    assert "HAI_FORCE" in fault.what
