"""What deployments name is there: flags of the command line, routes, the extra, files."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from demur.cli import app

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
SERVICE = (ROOT / "deploy" / "inference-service.yaml").read_text()


def parsed(words):
    """Read arguments as `demur serve` would."""
    command = typer.main.get_command(app).commands["serve"]
    return command.make_context("serve", words).params


def words_of(instruction):
    return json.loads(re.search(rf"^{instruction} (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])


def test_the_image_starts_a_server_that_is_healthy_where_it_is_asked():
    entry = words_of("ENTRYPOINT")
    assert entry[:2] == ["demur", "serve"]
    found = parsed([*entry[2:], *words_of("CMD")])
    assert (found["host"], found["port"], str(found["state"])) == ("0.0.0.0", 8080, "/state")
    assert found["guards"] == ["guard=/guards/guard"]
    assert "http://127.0.0.1:8080/v2/health/ready" in DOCKERFILE
    assert f"EXPOSE {found['port']}" in DOCKERFILE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.search(r'"\.\[(.*?)\]"', DOCKERFILE)[1].split(",")) <= set(project)
    for name in shlex.split(re.search(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE)[1]):
        assert (ROOT / name).is_file()


def test_the_inference_service_asks_what_there_is():
    service = yaml.safe_load(SERVICE)
    (container,) = service["spec"]["predictor"]["containers"]
    entry = words_of("ENTRYPOINT")
    found = parsed([*entry[2:], *container["args"]])
    ports = {
        container["ports"][0]["containerPort"],
        *(container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("readiness", "liveness")),
    }
    assert ports == {found["port"]}
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] > found["timeout"]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in service["spec"]["predictor"]["volumes"]}
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"


@pytest.mark.parametrize("page", ["docs/how-to/serve-a-guard.md", "docs/reference/serve.md"])
def test_the_flags_of_a_page_are_those_of_the_command(page):
    command = typer.main.get_command(app).commands["serve"]
    there = {option for each in command.params for option in each.opts if option.startswith("--")} - {"--help"}
    said = set(re.findall(r"--[a-z][a-z-]+", (ROOT / page).read_text()))
    assert said <= there
    assert "reference" not in page or there <= said
