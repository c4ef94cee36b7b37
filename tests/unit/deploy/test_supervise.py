from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from deploy.supervise import Program, ProgramRefused, render
from deploy.tether import unquote_environment

text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)
names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)


def parsed(folder: Path, section: str):
    """What supervisord itself makes of a section."""
    file = folder / "supervisord.conf"
    file.write_text(
        f"[supervisord]\nlogfile={folder}/log\npidfile={folder}/pid\n\n{section}", encoding="utf-8"
    )
    options = ServerOptions()
    options.realize(["-n", "-c", str(file)])
    (group,) = options.process_group_configs
    (process,) = group.process_configs
    return process


@given(
    arguments=st.lists(text, max_size=4),
    environment=st.dictionaries(names, st.one_of(text, st.text("\"';#% \n\\,=", max_size=8))),
)
def test_supervisord_reads_back_every_argument_and_variable(tmp_path_factory, arguments, environment):
    folder = tmp_path_factory.mktemp("p")
    program = Program("a.b-c_1", ("/bin/echo", *arguments), folder, folder / "x.log", environment)
    process = parsed(folder, render(program))
    command = shlex.split(process.command)
    assert command[0] == sys.executable
    assert tuple(command[4:]) == program.command
    assert unquote_environment(process.environment) == environment


@pytest.mark.parametrize("folder", ["100%", "a b", "%(here)s", "ünï"])
def test_paths_survive(tmp_path, folder):
    place = tmp_path / folder
    place.mkdir()
    process = parsed(tmp_path, render(Program("web", ("true",), place, place / "web%s.log")))
    assert process.directory == str(place)
    assert process.stdout_logfile == str(place / "web%s.log")


def test_the_child_is_killed_with_its_group_but_asked_alone(tmp_path):
    process = parsed(
        tmp_path, render(Program("web", ("true",), tmp_path, tmp_path / "web.log", stop_signal="INT"))
    )
    assert (process.stopasgroup, process.killasgroup) == (False, True)
    assert process.stopsignal == 2
    assert (process.stdout_logfile_maxbytes, process.stdout_logfile_backups) == (10 * 1024**2, 3)
    assert process.redirect_stderr


def test_a_json_value_needs_no_care(tmp_path):
    value = json.dumps({"a": "it's 100%; #1"})
    process = parsed(
        tmp_path, render(Program("web", ("true",), tmp_path, tmp_path / "web.log", {"X": value}))
    )
    assert unquote_environment(process.environment) == {"X": value}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": ""},
        {"command": ("a\nb",)},
        {"environment": {"A-B": "1"}},
        {"directory": Path("/a ;b")},
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, change):
    described = {"name": "web", "command": ("true",), "directory": tmp_path, "log": tmp_path / "web.log"}
    with pytest.raises(ProgramRefused):
        render(Program(**{**described, **change}))
