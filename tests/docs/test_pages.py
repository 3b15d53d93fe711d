"""The documentation is complete and its links lead somewhere."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml
from pydantic import BaseModel

from service.api.schemas import TextToVideoRequest, Video
from service.cli.main import app
from service.settings import ENV_PREFIX, Settings
from tests.docs.pages import PAGES, ROOT, name

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments under which GitHub shows a page's headings."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        target = urlsplit(link)
        if target.scheme:
            assert target.scheme == "https", link
            continue
        path = (page.parent / target.path).resolve() if target.path else page
        assert path.exists(), f"{link} leads nowhere"
        if target.fragment:
            assert target.fragment in anchors(path), f"{link}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = (urlsplit(link) for link in LINK.findall(page.read_text()))
        waiting += [(page.parent / link.path).resolve() for link in links if link.path and not link.scheme]

    assert set(PAGES) <= reached


def settings_table() -> dict[str, str]:
    text = (ROOT / "docs" / "operations.md").read_text()
    return dict(re.findall(r"^\| `(LUMIERE_\w+)` \| (.*?) \|", text, re.MULTILINE))


def written(default: object) -> str:
    """A default as one writes it into the environment."""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_documented_with_its_default() -> None:
    table = settings_table()

    assert set(table) == {f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields}
    for field, info in Settings.model_fields.items():
        if info.default_factory is None and info.default is not None:
            shown = table[f"{ENV_PREFIX}{field.upper()}"].strip("`")
            assert shown == written(info.default), field


def command_names() -> set[str]:
    group = typer.main.get_command(app)
    names = set[str]()
    for command, entry in group.commands.items():  # type: ignore[attr-defined]
        parts = getattr(entry, "commands", None)
        names |= {f"lumiere {command} {part}" for part in parts} if parts else {f"lumiere {command}"}
    return names


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text()

    assert set(re.findall(r"^\| `(lumiere [a-z ]+)` \|", text, re.MULTILINE)) == command_names()


@pytest.mark.parametrize("shape", [Video, TextToVideoRequest])
def test_every_field_is_documented(shape: type[BaseModel]) -> None:
    text = (ROOT / "docs" / "http-api.md").read_text()

    assert {field for field in shape.model_fields if f"`{field}`" not in text} == set()


def requests_of(page: Path) -> set[str]:
    """`METHOD /path` of every curl command of a page, with its variables."""
    text = page.read_text().replace("\\\n", " ")
    calls = re.findall(r"curl [^|\n]*?\$URL(/[^\s?\")]*)([^\n|]*)", text)
    lines = [line for line in re.findall(r"curl [^\n|]*", text) if "$URL" in line]
    assert len(calls) == len(lines)
    found = set()
    for line, (path, _) in zip(lines, calls, strict=True):
        named = re.search(r"-X (\w+)", line)
        found.add(f"{named[1] if named else 'POST' if re.search(r' -[dF] ', line) else 'GET'} {path}")
    return found


def test_the_cookbook_has_every_route(tmp_path: Path) -> None:
    from service.api.app import create_app

    documented = create_app(Settings(redis_url="redis://127.0.0.1:1", data_dir=tmp_path)).openapi()["paths"]
    shown = requests_of(ROOT / "docs" / "cookbook.md")
    for path, methods in documented.items():
        for method in methods:
            wanted = re.compile(f"{method.upper()} {re.sub(r'{[^}]+}', r'[$A-Za-z_]+', path)}")
            assert any(wanted.fullmatch(call) for call in shown), f"{method.upper()} {path} is not in the cookbook"


def test_every_task_has_a_route() -> None:
    from service.cli.generate import TASKS

    text = (ROOT / "docs" / "http-api.md").read_text()

    assert all(f"`POST /v1/{task}`" in text for task in TASKS)


def test_decisions_are_numbered_and_listed() -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text()

    assert [int(page[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert all(f"({page})" in listed for page in pages)


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    asked = set(re.findall(r"\bmake (\w+)", (ROOT / "README.md").read_text())) - {"and"}

    assert {"demo", "serve", "test"} <= asked
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in asked)


def test_compose_file_keeps_jobs_and_gives_workers_time_to_drain() -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    services = compose["services"]

    redis = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in redis
    assert "--maxmemory-policy noeviction" in redis
    assert services["redis"]["volumes"] == ["redis:/data"]
    for part in ("gateway", "worker"):
        build = services[part]["build"]
        assert (ROOT / "docker" / build["context"] / build["dockerfile"]).is_file()
        assert services[part]["environment"]["LUMIERE_REDIS_URL"] == "redis://redis:6379/0"
    drain = float(services["worker"]["environment"]["LUMIERE_DRAIN_SECONDS"])
    assert float(services["worker"]["stop_grace_period"].removesuffix("s")) >= drain + 20
    assert all(port.startswith("127.0.0.1:") for port in services["gateway"]["ports"])


@pytest.mark.parametrize("part", ["gateway", "worker"])
def test_images_copy_files_that_exist_and_run_without_root(part: str) -> None:
    text = (ROOT / "docker" / f"{part}.Dockerfile").read_text()

    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), f"COPY {source}"
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)


def test_the_gateway_image_installs_what_the_service_imports_and_no_torch() -> None:
    text = (ROOT / "docker" / "gateway.Dockerfile").read_text()
    installed = set(re.search(r"--constraint constraints.txt \\\n +(.+)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    sources = [path.read_text() for path in (ROOT / "service").rglob("*.py") if path.parent.name != "stack"]
    imported = {module for source in sources for module in re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)}

    assert "torch" not in installed
    for package in (
        "fastapi",
        "pydantic",
        "pydantic_settings",
        "redis",
        "rq",
        "obstore",
        "structlog",
        "typer",
        "httpx",
    ):
        assert package not in imported or package.replace("_", "-") in installed
