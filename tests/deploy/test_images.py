"""What the images, the compose file and the units start: commands and settings that exist."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitor.cli.app import COMMANDS
from monitor.config.loading import parse
from monitor.config.reading import overlay
from release.image import TARGETS, command, labels
from tests.docs.pages import ROOT
from tests.tools import needs

DEPLOY: Final = ROOT / "deploy"
CONTAINERFILE: Final = (DEPLOY / "Containerfile").read_text()
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNITS: Final = sorted((DEPLOY / "systemd").glob("*.service"))
ADDRESS: Final = "postgresql://driftline@db/driftline"
"""What a secret would give."""


def _settings(environ: Mapping[str, str]) -> object:
    """Read settings as a process with these variables does; raises for one that is none."""
    secrets = {name: ADDRESS for name, one in environ.items() if name.endswith("URL") and not one}
    return parse(overlay({}, {**environ, **secrets}), source="deploy", environ={})


def _in_the_images() -> dict[str, str]:
    found = dict(re.findall(r"(DRIFTLINE_\w+)=(\S+)", CONTAINERFILE))
    assert len(found) == 4
    return found


def _manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in yaml.safe_load_all((DEPLOY / "kubernetes" / "driftline.yaml").read_text()):
        if "template" in one.get("spec", {}):
            pod = one["spec"]["template"]["spec"]
            for container in [*pod["containers"], *pod.get("initContainers", ())]:
                yield f"{one['metadata']['name']}/{container['name']}", container


def _is_a_command(words: list[str]) -> bool:
    names = set(COMMANDS)
    return words[0] in names or " ".join(words[:2]) in names


def test_every_target_of_the_release_is_in_the_containerfile() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", CONTAINERFILE, re.MULTILINE)
    assert set(TARGETS) <= set(stages)
    for target in TARGETS:
        assert command("buildah", target, "1.2.3")[-3:] == [target, "--tag", f"{target}:1.2.3"]


def test_the_images_share_what_their_first_stages_installed() -> None:
    """Buildah keeps no layer unless told to; the others know no such word, or need none."""
    assert "--layers" in command("buildah", "driftline", "1.2.3")
    assert "--layers" not in command("docker", "driftline", "1.2.3")


def _stages() -> dict[str, tuple[str, str]]:
    """Give what each stage begins from, and its lines."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.MULTILINE)
    _, *parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)
    found = zip(parts[1::3], parts[0::3], parts[2::3], strict=True)
    return {name: (base, lines.strip()) for name, base, lines in found}


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_an_environment_without_pip_beside_a_python(target: str) -> None:
    stages = _stages()
    base, lines = stages[target]
    assert (base, stages[base][0]) == ("runtime", "${BASE}")
    assert "RUN" not in lines, "nothing is installed in it"
    [made] = re.findall(r"^COPY --from=(\S+) /opt/driftline /opt/driftline$", lines, re.MULTILINE)
    last = stages[made][1].rpartition("RUN ")[2]
    assert "/opt/driftline/bin/python -m pip uninstall --quiet --yes pip \\\n" in last
    assert last.endswith("--output-file /opt/driftline/sbom.json")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_an_ordinary_user_and_says_how_it_is(target: str) -> None:
    stages = _stages()
    lines = "\n".join(stages[name][1] for name in ("runtime", target))
    assert re.findall(r"^USER (.+)$", lines, re.MULTILINE) == ["10001:10001"]
    [asked] = re.findall(
        r"^HEALTHCHECK .*\n +.*http://127\.0\.0\.1:(\d+)/readyz", lines, re.MULTILINE
    )
    assert asked in re.findall(r"\d+", re.findall(r"^EXPOSE (.+)$", lines, re.MULTILINE)[0])
    said = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', lines))
    assert said["licenses"] == "Apache-2.0"
    assert set(said) == {"title", "description", "licenses"}


@pytest.mark.parametrize("who", ["ann:secret", "ann@example.com:secret", "ann:sec@ret"])
def test_an_image_says_what_it_is_made_of_and_no_key_of_where_that_is(
    tmp_path: Path, who: str
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
        ran = subprocess.run(
            ["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message", "begin")
    git("remote", "add", "origin", f"https://{who}@git.example.com/ml/driftline.git")
    told = {
        "version": "1.2.3",
        "revision": git("rev-parse", "HEAD"),
        "source": "https://git.example.com/ml/driftline.git",
    }
    said = labels("1.2.3", tree=tmp_path)
    assert said == [f"org.opencontainers.image.{name}={value}" for name, value in told.items()]
    words = command("docker", "driftline", "1.2.3", labelled=said)
    assert [words[at + 1] for at, word in enumerate(words) if word == "--label"] == said
    (tmp_path / "new").touch()
    git("add", "new")
    assert labels("1.2.3", tree=tmp_path)[1].endswith(f"{told['revision']}-dirty")


def test_where_git_knows_nothing_an_image_says_its_version_alone(tmp_path: Path) -> None:
    assert labels("1.2.3", tree=tmp_path) == ["org.opencontainers.image.version=1.2.3"]


@pytest.mark.parametrize(
    ("torch", "listed", "code"),
    [
        ("cpu", "numpy==2.3.0\ntorch==2.9.0+cpu", 0),
        ("cpu", "nvidia-cublas-cu12==12.8.4.1\ntorch==2.9.0", 1),
        ("cuda", "nvidia-cublas-cu12==12.8.4.1\ntorch==2.9.0", 0),
    ],
)
def test_torch_for_cuda_ends_the_build_unless_it_was_asked_for(
    torch: str, listed: str, code: int, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nprintf '%s\\n' '{listed}'\n")
    python.chmod(0o755)
    assert _stages()["driftline-build"][1].startswith("ARG TORCH=cpu\n")
    [check] = re.findall(r"^RUN (listed=.*?esac)$", CONTAINERFILE, re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        ["sh", "-c", check.replace("/opt/driftline/bin/python", str(python))],
        env={"TORCH": torch, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code
    assert ("make image WHEELS=" in ran.stderr) is bool(code)


def test_settings_of_the_images_are_settings() -> None:
    assert _settings(_in_the_images())
    with pytest.raises(Exception, match="unknown key"):
        _settings({"DRIFTLINE_SERVER__WORKER_PROT": "1"})


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_the_compose_file_starts_commands_with_settings_that_exist(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["image"].partition(":")[0] in TARGETS
    assert service["read_only"] is True
    environ = {**COMPOSE["x-driftline"]["environment"], **service.get("environment", {})}
    files = {one: value for one, value in environ.items() if one.endswith(("_FILE", "_CONFIG"))}
    assert _settings({one: value for one, value in environ.items() if one not in files})
    text = " ".join(service["command"])
    parts = [part.removeprefix("exec ") for part in text.split(" && ")]
    commands = [shlex.split(part.removeprefix("driftline ")) for part in parts]
    assert all(map(_is_a_command, commands)), commands
    assert COMPOSE["x-driftline"]["extra_hosts"] == ["host.docker.internal:host-gateway"]
    mounted = [volume.split(":")[1] for volume in service["volumes"]]
    secrets = [f"/run/secrets/{secret}" for secret in service["secrets"]]
    assert set(files.values()) <= {*mounted, *secrets}


def test_the_compose_file_and_its_page_take_the_images_of_this_release() -> None:
    [version] = re.findall(
        r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    for service in COMPOSE["services"].values():
        assert service["image"].endswith(f":${{DRIFTLINE_VERSION:-{version}}}")
    assert f"driftline:{version}\n```" in (ROOT / "docs" / "install.md").read_text()
    assert COMPOSE["name"] == "driftline", "else compose takes the folder's name, which is deploy"


def test_manifests_start_commands_with_settings_that_exist() -> None:
    seen = dict(_manifests())
    assert len(seen) == 6
    for where, container in seen.items():
        assert _is_a_command(container["args"]), where
        given = {one["name"]: one.get("value", "") for one in container["env"]}
        files = {name for name in given if name.endswith(("_FILE", "_CONFIG"))}
        known = {name: value for name, value in given.items() if name not in files}
        assert _settings(_in_the_images() | known), where


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_start_commands_as_users_of_their_own(unit: Any) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    service = dict(parser["Service"])
    _, *words = shlex.split(service["ExecStart"])
    assert _is_a_command(words)
    given = dict(re.findall(r"^Environment=(\w+)=(.+)$", unit.read_text(), re.MULTILINE))
    key_file = given.pop("DRIFTLINE_GATEWAY__KEY_FILE", None)
    assert _settings(given)
    folder = service["StateDirectory"]
    assert service["User"] == service["Group"] == folder == unit.stem
    home = given["DRIFTLINE_SERVICE__DATA_DIR"]
    assert home == service["WorkingDirectory"] == f"/var/lib/{folder}"
    page = (ROOT / "docs" / "install.md").read_text()
    assert key_file is None or f"> {key_file})\nchown {unit.stem} {key_file}\n" in page
    assert (key_file is None) is (unit.stem == "driftline")


ANALYZE: Final = shutil.which("systemd-analyze")


@needs(ANALYZE, "`make systemd` installs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_knows_every_line_of_a_unit(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    verified = _verified(text, unit.name, tmp_path / "as-it-is")
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    misspelt = _verified(text.replace("ProtectClock", "ProtectClok"), unit.name, tmp_path / "not")
    assert "Unknown key 'ProtectClok' in section [Service]" in misspelt.stderr
    other = _verified(text.replace("/bin/driftline", "/bin/drift"), unit.name, tmp_path / "gone")
    assert other.returncode != 0


def _verified(text: str, name: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Ask systemd about a unit on a machine that has what docs/install.md puts there."""
    assert ANALYZE is not None
    units = root / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for target in ("basic", "multi-user", "network-online", "shutdown", "sysinit"):
        (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    program = root / "opt" / "driftline" / "bin" / "driftline"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (units / name).write_text(text)
    words = [ANALYZE, "verify", "--man=no", f"--root={root}", name]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_two_units_differ_in_what_they_run_alone() -> None:
    hardening = [
        {
            line
            for line in unit.read_text().splitlines()
            if line.startswith(("Protect", "Private", "Restrict", "NoNew", "Lock", "System", "Cap"))
        }
        for unit in UNITS
    ]
    assert hardening[0] == hardening[1]
    assert len(hardening[0]) > 15


def test_what_the_plain_manifests_need_is_said() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    text = (DEPLOY / "kubernetes" / "driftline.yaml").read_text()
    named = re.findall(r'secretKeyRef: \{name: "([^"]+)", key: "([^"]+)"\}', text)
    assert {"driftline-database"} == {name for name, _ in named}
    for _, key in named:
        assert f"--from-literal {key}=" in page
    for key in ("subject.key", "session.key", "gateway.key", "metrics.key"):
        assert f"--from-file {key}" in page
    assert json.dumps("driftline-keys") in text
