"""launch/tpu_vm.sh: what it would ask of gcloud, and what it does when slices come and go.

The calls of a dry run are held against tests/golden/tpu_vm.txt. Where they were meant to change:

    python -m tests.launch.tpu_vm_test
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "tpu_vm.txt"
WHERE = ("--name", "lat", "--zone", "us-east5-a")
FLAGS = (
    "--config",
    "configs/latent_lm.py:size=small,codes=16",
    "--workdir=gs://bucket/runs/x",
    "--config.data.files=('it''s a b/*.txt',)",
)

DRY_RUNS = {
    "run": ("run", *WHERE, "--type=v5litepod-16", "--project=P", "--spot", "--", *FLAGS),
    "run, queued": (
        *("run", *WHERE, "--type=v6e-256", "--queued", "--delete", "--env", "XLA_FLAGS=--a --b"),
        *("--service_account=who@where", "--network=n", "--subnetwork=s", "--", "python", "x.py"),
    ),
    "create, v4": ("create", *WHERE, "--type", "v4-8"),
    "create, v5p": ("create", *WHERE, "--type", "v5p-32"),
    "create, another image": ("create", *WHERE, "--type=v9-8", "--runtime_version=v2-alpha-tpuv9"),
    "install": ("install", *WHERE),
    "start": ("start", *WHERE, "--", *FLAGS),
    "logs": ("logs", *WHERE, "--worker", "3"),
    "status": ("status", *WHERE),
    "stop": ("stop", *WHERE),
    "fetch from a host": ("fetch", *WHERE, "--from", "runs/x", "--to", "runs"),
    "fetch from a bucket": ("fetch", *WHERE, "--from", "gs://bucket/runs/x", "--to", "runs"),
    "delete": ("delete", *WHERE),
    "delete, queued": ("delete", *WHERE, "--queued"),
}


def make_project(folder):
    """Make a repository of the scripts and a set-up that installs nothing."""
    launch = folder / "launch"
    launch.mkdir(parents=True)
    for name in ("tpu_vm.sh", "tpu_host.sh"):
        shutil.copy(ROOT / "launch" / name, launch)
    (launch / "setup.sh").write_text("PYTHON=echo\n")
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return folder


def tpu_vm(project, *arguments, cwd=None, **environment):
    return subprocess.run(
        ["bash", project / "launch" / "tpu_vm.sh", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env={**os.environ, "TMPDIR": "/tmp", **environment},
        timeout=120,
    )


def watch(project, *arguments):
    """Start the script in a session of its own, to read while it runs.

    A suite in the background ignores SIGINT, and bash would inherit that and could not trap it.
    """
    return subprocess.Popen(
        ["bash", project / "launch" / "tpu_vm.sh", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_until(process, last):
    """Return the lines that it shows, up to the line `last`."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == last:
            return "".join(lines)
    raise AssertionError(f"no {last!r} in {lines}")


def dry_runs(project):
    """Return all dry runs as one text, the revision of the tree replaced by its name."""
    parts = []
    for title, words in DRY_RUNS.items():
        done = tpu_vm(project, words[0], "--dry_run", *words[1:], cwd="/")
        assert done.returncode == 0, done.stdout
        text = re.sub(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{12}\b", "REVISION", done.stdout)
        parts.append(f"# {title}: {shlex.join(words)}\n{text}")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """One for all tests: none changes it."""
    return make_project(tmp_path_factory.mktemp("tpu_vm") / "project")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """A folder that `gcloud` on the PATH takes for a cloud, see tests/launch/fake_gcloud.sh."""
    folder, tools = tmp_path / "cloud", tmp_path / "tools"
    folder.mkdir()
    tools.mkdir()
    shutil.copy(ROOT / "tests" / "launch" / "fake_gcloud.sh", tools / "gcloud")
    (tools / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_CLOUD", str(folder))
    monkeypatch.setenv("LATENT_JAX_POLL_SECONDS", "0.02")
    return folder


def actions(cloud):
    """Return what was asked for, without the answers to "what is its state" and "how is it"."""
    calls = [shlex.split(line) for line in (cloud / "calls").read_text().splitlines()]
    asked = [re.search(r"bash \S+\.sh (\w+)", call[-1]) for call in calls]
    names = [on_host[1] if on_host else call[3] for on_host, call in zip(asked, calls, strict=True)]
    return [name for name in names if name not in ("describe", "status")]


RUN = ("run", *WHERE, "--type", "v5litepod-8")
SET_UP = ["create", "scp", "unpack", "install", "start", "follow"]


def test_dry_runs_print_the_calls_that_were_meant_and_make_none(project, cloud):
    assert dry_runs(project) == GOLDEN.read_text()
    assert not (cloud / "calls").exists()


def test_a_command_arrives_as_it_was_written(project, cloud):
    words = ["a b", "c'd", '"', "$HOME", "*", "x\ny", "", "--flag=(1,)"]
    script = "import sys; print(sys.argv[1:])"
    done = tpu_vm(project, *RUN, "--", sys.executable, "-c", script, *words)
    assert done.returncode == 0, done.stdout
    assert repr(words) in done.stdout
    assert actions(cloud) == SET_UP
    assert "-m pip install -qq --disable-pip-version-check -e .[tpu,gs]" in done.stdout
    # Again: the slice is there, and the command, which has ended, runs once more.
    assert tpu_vm(project, *RUN, "--", "true").returncode == 0
    assert actions(cloud) == SET_UP + SET_UP[1:]


def test_the_variables_of_a_host_reach_the_command(project, cloud):
    script = "echo $JAX_DISTRIBUTED $MINE; echo $LATENT_JAX_REVISION"
    done = tpu_vm(project, *RUN, "--env", "MINE=a b", "--delete", "--", "bash", "-c", script)
    assert done.returncode == 0, done.stdout
    revision = subprocess.run(
        ["git", "-C", project, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert f"1 a b\n{revision}\n" in done.stdout
    assert actions(cloud) == [*SET_UP, "delete"] and not (cloud / "tpu-vm-lat").exists()


def test_what_is_not_committed_is_named_and_not_copied(tmp_path, cloud):
    project = make_project(tmp_path / "project")
    (project / "new.py").write_text("")
    (project / "launch" / "setup.sh").write_text("PYTHON=false\n")
    done = tpu_vm(project, *RUN, "--", "ls")
    assert done.returncode == 0, done.stdout
    assert "not copied, because it is not committed" in done.stdout and "?? new.py" in done.stdout
    assert "M launch/setup.sh" in done.stdout and "\nnew.py\n" not in done.stdout


# The first time the slice goes while the command runs; the second time it ends well.
PREEMPTED = """
if [ -e "$FAKE_CLOUD/second" ]; then echo resumed; exit; fi
touch "$FAKE_CLOUD/second"; sleep 0.1; {event}
"""


@pytest.mark.parametrize(
    ("event", "made_again"),
    [
        ('echo PREEMPTED >"$FAKE_CLOUD/tpu-vm-lat"; exit 143', ["delete", "create"]),
        ('rm "$FAKE_CLOUD/tpu-vm-lat"; exit 143', ["create"]),
        # One host went first; the slice says so when it is asked for the third time.
        (
            'printf "true\\ntrue\\necho PREEMPTED >tpu-vm-lat" >~/../before-describe; exit 75',
            ["delete", "create"],
        ),
        # A host that was started anew has the folder, and knows of no command that runs or ended.
        ('kill -9 $PPID; echo other >~/latent_jax_run/boot; exit 1', []),
    ],
    ids=["preempted", "deleted", "lost", "rebooted"],
)  # fmt: skip
def test_a_slice_that_goes_away_is_made_again_and_the_command_goes_on(
    project, cloud, event, made_again
):
    script = PREEMPTED.format(event=event)
    done = tpu_vm(project, *RUN, "--", "bash", "-c", script)
    assert done.returncode == 0, done.stdout
    assert "went away; making it again (1 of at most 100)" in done.stdout
    assert "resumed" in done.stdout
    assert actions(cloud) == [*SET_UP, *made_again, *SET_UP[1:]]


def test_restarts_are_counted(project, cloud):
    event = 'rm "$FAKE_CLOUD/tpu-vm-lat"; exit 143'
    done = tpu_vm(project, *RUN, "--max_restarts", "2", "--", "bash", "-c", event)
    assert done.returncode == 2 and actions(cloud).count("create") == 3
    assert "lat went away, after 2 restarts (--max_restarts)" in done.stdout


@pytest.mark.parametrize("step", SET_UP[1:-1])
def test_a_slice_that_goes_while_it_is_set_up_is_made_again(project, cloud, step):
    (cloud / f"before-{step}").write_text("echo PREEMPTED >tpu-vm-lat\nrm tpu-vm-lat\n")
    done = tpu_vm(project, *RUN, "--max_restarts=2", "--", "echo", "here")
    assert done.returncode == 0 and "\nhere\n" in done.stdout, done.stdout
    for count in (1, 2):
        assert f"lat went away; making it again ({count} of at most 2)" in done.stdout
    began = SET_UP[: SET_UP.index(step) + 1]
    assert actions(cloud) == [*began, "delete", *began, *SET_UP]

    # It is there now, and goes more often than is allowed.
    (cloud / f"before-{step}").write_text("rm tpu-vm-lat\n")
    done = tpu_vm(project, *RUN, "--max_restarts=0", "--", "echo", "here")
    assert done.returncode == 2 and "lat went away, after 0 restarts" in done.stdout, done.stdout


@pytest.mark.parametrize("step", SET_UP[1:-1])
def test_a_step_that_fails_on_a_slice_that_stands_is_one_error(project, cloud, step):
    (cloud / f"before-{step}").write_text("exit 255\n")
    done = tpu_vm(project, *RUN, "--", "echo", "here")
    assert done.returncode == 2 and done.stdout.count("error: ") == 1
    assert "the last step failed (see above), and lat is READY: not preempted" in done.stdout
    assert actions(cloud) == SET_UP[: SET_UP.index(step) + 1]


def test_a_slice_for_which_there_is_no_room_now_is_asked_for_again(project, cloud):
    (cloud / "before-start").write_text("rm tpu-vm-lat\n")
    (cloud / "before-create").write_text("true\nexit 1\n")
    done = tpu_vm(project, *RUN, "--", "true")
    assert done.returncode == 0, done.stdout
    assert "lat could not be made; making it again (2 of at most 100)" in done.stdout
    # The first time it is an error.
    assert tpu_vm(project, "delete", *WHERE).returncode == 0
    (cloud / "before-create").write_text("exit 1\n")
    done = tpu_vm(project, *RUN, "--", "true")
    assert done.returncode == 2 and "error: gcloud could not make lat" in done.stdout


@pytest.mark.parametrize("status", [3, 75, 143])
def test_a_command_that_fails_on_a_slice_that_stands_is_not_repeated(project, cloud, status):
    done = tpu_vm(project, *RUN, "--delete", "--", "bash", "-c", f"exit {status}")
    assert done.returncode == status
    assert f"ended with status {status}; lat is left as it is" in done.stdout
    assert actions(cloud) == SET_UP


def test_a_started_command_outlives_the_connection_and_can_be_stopped(project, cloud):
    assert tpu_vm(project, "create", *WHERE, "--type", "v5litepod-8").returncode == 0
    assert tpu_vm(project, "install", *WHERE).returncode == 0
    saves = (
        "bash",
        "-c",
        "trap 'echo saved; exit 143' TERM; echo here; while :; do sleep 0.1; done",
    )
    begun = tpu_vm(project, "start", *WHERE, "--", *saves)
    assert begun.returncode == 0 and "started" in begun.stdout
    assert "running bash -c trap" in tpu_vm(project, "status", *WHERE).stdout
    assert "runs already" in tpu_vm(project, "start", *WHERE, "--", *saves).stdout
    refused = tpu_vm(project, *RUN, "--", "true")
    assert refused.returncode == 2 and "another command runs on lat: bash -c trap" in refused.stdout
    assert "tpu_vm.sh stop --name lat --zone us-east5-a" in refused.stdout
    # `run` with the same command follows it, and leaves the tree alone that it runs from.
    copies = actions(cloud).count("scp")
    followed = watch(project, *RUN, "--", *saves)
    shown = read_until(followed, "here\n")
    assert "stopped" in tpu_vm(project, "stop", *WHERE).stdout
    shown += followed.communicate(timeout=60)[0]
    assert followed.returncode == 143 and "runs there already" in shown
    assert "here\nsaved\n" in shown and actions(cloud).count("scp") == copies
    assert tpu_vm(project, "start", *WHERE, "--", *saves).returncode == 0
    other = tpu_vm(project, "start", *WHERE, "--", "true")
    assert other.returncode != 0 and "another command runs here: bash -c" in other.stdout
    assert "stopped" in tpu_vm(project, "stop", *WHERE).stdout
    logs = tpu_vm(project, "logs", *WHERE)
    assert logs.stdout.endswith("here\nsaved\n"), logs.stdout
    assert "ended 143" in tpu_vm(project, "status", *WHERE).stdout


def test_no_answer_of_a_host_is_not_taken_for_an_idle_one(project, cloud):
    waits = ("bash", "-c", "echo here; while :; do [ -e ~/go ] && exit; sleep 0.1; done")
    for action in (("create", *WHERE, "--type=v4-8"), ("install", *WHERE)):
        assert tpu_vm(project, *action).returncode == 0
    assert tpu_vm(project, "start", *WHERE, "--", *waits).returncode == 0
    before = actions(cloud)
    # No connection, and one that ends too early to tell anything: until it gives up.
    (cloud / "before-status").write_text("exit 255\nexit 1\n" * 15)
    done = tpu_vm(project, *RUN, "--", *waits)
    assert done.returncode == 2 and done.stdout.count("error: ") == 1
    assert "host 0 does not say whether a command runs there (asked 15 times" in done.stdout
    assert actions(cloud) == before
    # It answers the second time, with what is no answer, and the third time.
    (cloud / "before-status").write_text("exit 255\necho; exit 0\n")
    (cloud / "before-follow").write_text("touch home/go\n")
    done = tpu_vm(project, *RUN, "--", *waits)
    assert done.returncode == 0 and "the command runs there already" in done.stdout, done.stdout
    assert actions(cloud) == [*before, "follow"]


def test_the_tree_of_a_command_that_runs_is_not_replaced(project, cloud):
    for action in (("create", *WHERE, "--type=v4-8"), ("install", *WHERE)):
        assert tpu_vm(project, *action).returncode == 0
    assert tpu_vm(project, "start", *WHERE, "--", "sleep", "60").returncode == 0
    mark = cloud / "home" / "latent_jax" / "mark"
    mark.write_text("")
    done = tpu_vm(project, "install", *WHERE)
    assert done.returncode != 0 and mark.exists()
    assert "a command runs here, and its tree stays: sleep 60" in done.stdout
    assert actions(cloud)[-1] == "unpack"
    assert "stopped" in tpu_vm(project, "stop", *WHERE).stdout
    # Its number may belong to another process now: what has ended does not run.
    (cloud / "home" / "latent_jax_run" / "pid").write_text(str(os.getpid()))
    assert tpu_vm(project, "install", *WHERE).returncode == 0 and not mark.exists()


def test_ctrl_c_leaves_the_command_alone(project, cloud):
    words = ("--", "bash", "-c", "echo here; while :; do sleep 0.1; done")
    watching = watch(project, *RUN, *words)
    read_until(watching, "here\n")
    os.killpg(watching.pid, signal.SIGINT)
    rest = watching.communicate(timeout=60)[0]
    assert watching.returncode == 130 and "what runs on lat goes on" in rest
    assert "running bash -c echo" in tpu_vm(project, "status", *WHERE).stdout
    assert "stopped" in tpu_vm(project, "stop", *WHERE).stdout


def test_a_queued_slice_is_waited_for(project, cloud):
    (cloud / "before-describe").write_text(
        "true\ntrue\ntrue\necho ACTIVE >queued-resources-lat; echo READY >tpu-vm-lat\n"
    )
    done = tpu_vm(project, *RUN, "--queued", "--", "true")
    assert done.returncode == 0, done.stdout
    shown = re.findall(r"lat is ([A-Z_]+)", done.stdout)
    assert shown == ["WAITING_FOR_RESOURCES", "ACTIVE", "READY"]
    assert actions(cloud) == SET_UP


def test_a_request_that_failed_is_an_error_with_its_reason(project, cloud):
    (cloud / "before-describe").write_text(
        "true\nprintf 'FAILED\\nQuota TPUS exceeded' >queued-resources-lat\n"
    )
    done = tpu_vm(project, "create", *WHERE, "--type=v4-8", "--queued")
    assert done.returncode == 2, done.stdout
    assert "error: the request for lat has failed" in done.stdout
    assert "Quota TPUS exceeded" in done.stdout
    assert "tpu_vm.sh delete --name lat --zone us-east5-a --queued" in done.stdout
    assert actions(cloud) == ["create"]


def test_a_request_that_goes_before_it_is_granted_is_counted(project, cloud):
    (cloud / "before-describe").write_text(
        "true\necho SUSPENDED >queued-resources-lat\n" * 4 + "exit 1\n"
    )
    words = ("create", *WHERE, "--type=v4-8", "--queued", "--max_restarts=2")
    start = time.monotonic()
    done = tpu_vm(project, *words, LATENT_JAX_POLL_SECONDS="0.5")
    # It waits before each of the two restarts.
    assert done.returncode == 2 and time.monotonic() - start > 1, done.stdout
    assert "lat went away before it was ready, after 2 restarts (--max_restarts)" in done.stdout
    assert actions(cloud) == ["create", "delete", "create", "delete", "create"]


def test_a_granted_request_whose_slice_is_missing_is_made_again(project, cloud):
    (cloud / "queued-resources-lat").write_text("ACTIVE")
    (cloud / "before-create").write_text("echo READY >tpu-vm-lat\n")
    ready = "true\n" * 9 + "echo ACTIVE >queued-resources-lat; echo READY >tpu-vm-lat\n"
    (cloud / "before-describe").write_text(ready)
    done = tpu_vm(project, "create", *WHERE, "--type=v4-8", "--queued")
    assert done.returncode == 0, done.stdout
    assert "the request for lat is granted, and there is no slice" in done.stdout
    assert actions(cloud) == ["delete", "create"]


def test_gcloud_may_fail_for_a_while_once_it_has_answered(project, cloud):
    (cloud / "before-describe").write_text("true\nexit 1\nexit 1\n")
    done = tpu_vm(project, "create", *WHERE, "--type=v4-8")
    assert done.returncode == 0 and actions(cloud) == ["create"], done.stdout


def test_an_error_of_gcloud_ends_it(project, cloud):
    (cloud / "before-describe").write_text("exit 1\n")
    done = tpu_vm(project, *RUN, "--", "true")
    assert done.returncode == 1 and "create" not in actions(cloud)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("go", *WHERE), "unknown command 'go'"),
        (("run", "--zone=z", "--", "true"), "--name is ''"),
        (("run", "--name=Lat", "--zone=z", "--", "true"), "--name is 'Lat': name the slice with"),
        (("run", "--name=lat", "--", "true"), "--zone is missing"),
        (("run", *WHERE, "--", "true"), "--type is missing"),
        (("run", *WHERE, "--type=v7-8", "--", "true"), "unknown --type v7-8: give v2-*"),
        (("run", *WHERE, "--type=v5e-8", "--", "true"), "such as v5litepod-16"),
        (("run", *WHERE, "--type=v4-8"), "what shall run? Give the command after --"),
        (("run", *WHERE, "--type=v4-8", "--env=x", "--", "true"), "--env is 'x': write KEY=VALUE"),
        (("run", *WHERE, "--typ=v4-8", "--", "true"), "unknown option --typ"),
        (("run", *WHERE, "--type"), "--type needs a value"),
        (("delete", "--name", "lat", "--zone", "--dry_run"), "--zone needs a value"),
        (("delete", *WHERE, "--project", "--dry_run"), "--project needs a value"),
        (("run", *WHERE, "--type=v4-0", "--", "true"), "unknown --type v4-0"),
        (("run", *WHERE, "--type=v4-8", "--worker=9", "--", "true"), "v4-8 has one host"),
        (("run", *WHERE, "python"), "unexpected 'python': the command of the run stands after --"),
        (("fetch", *WHERE, "--from=x"), "fetch needs --from"),
        (("status", *WHERE, "--", "true"), "status does not use --: it is for run, start"),
        (("logs", *WHERE, "--worker=all"), "--worker is 'all'"),
        (("create", *WHERE, "--type=v4-8", "--max_restarts=x"), "--max_restarts is 'x': give a"),
    ],
)
def test_what_is_wrong_is_said_before_any_call(project, cloud, words, message):
    done = tpu_vm(project, *words)
    assert done.returncode == 2 and message in done.stdout
    assert not (cloud / "calls").exists()


HERE = ("--config", "configs/latent_lm.py", "--workdir")


@pytest.mark.parametrize(
    ("kind", "command", "workdir"),
    [
        # One host and the next size, as the tables of cloud.google.com/tpu/docs have them.
        ("v5litepod-16", (*HERE, "runs/x"), "runs/x"),
        ("v5litepod-8", (*HERE, "runs/x"), None),
        ("v6e-16", HERE[:2], "not given"),
        ("v6e-8", HERE[:2], None),
        ("v4-16", ("python", "launch/train.py", "--workdir=gs://b/x", "--workdir=/x"), "/x"),
        ("v4-8", ("python", "launch/train.py", "--workdir=/x"), None),
        ("v5p-16", HERE, "not given"),
        ("v5p-8", HERE[:2], None),
        ("v5p-16", (*HERE, "gs://b/x"), None),
        ("v5p-16", ("python", "pretrain.py"), None),
    ],
)
def test_several_hosts_train_only_into_a_bucket(project, cloud, kind, command, workdir):
    done = tpu_vm(project, "run", *WHERE, "--dry_run", "--env=A=b", "--type", kind, "--", *command)
    if workdir is None:
        assert done.returncode == 0 and "tpu-vm create lat" in done.stdout
    else:
        assert done.returncode == 2 and "+ gcloud" not in done.stdout
        told = f"error: {kind} has several hosts, which share no disk, and --workdir is {workdir}:"
        assert told in done.stdout


def test_an_option_is_refused_where_it_is_not_used_as_the_help_says(project, cloud):
    shown = tpu_vm(project, "--help").stdout
    used = re.findall(r"^  (--\w+).* \(((?:run|fetch)[a-z, ]*)\)", shown, flags=re.MULTILINE)
    assert len(used) == 13
    for option, verbs in used:
        value = [] if option in ("--spot", "--queued", "--delete") else ["1"]
        done = tpu_vm(project, "stop", *WHERE, option, *value)
        assert done.stdout == f"error: stop does not use {option}: it is for {verbs}\n"
        assert done.returncode == 2
    assert not (cloud / "calls").exists()


def test_status_stops_where_there_are_no_hosts_to_ask(project, cloud):
    done = tpu_vm(project, "status", *WHERE)
    assert done.returncode == 0 and done.stdout.endswith("==> lat is not there\n")
    (cloud / "tpu-vm-lat").write_text("PREEMPTED")
    done = tpu_vm(project, "status", *WHERE)
    assert done.returncode == 0 and done.stdout.endswith("==> lat is PREEMPTED\n")
    (cloud / "before-describe").write_text("echo 'ERROR: no rights' >&2; exit 1\n")
    done = tpu_vm(project, "status", *WHERE)
    assert done.returncode == 1 and done.stdout.endswith("\nERROR: no rights\n")
    calls = (cloud / "calls").read_text()
    assert calls.count("describe lat") == 3 and calls.count("\n") == 3


def test_fetch_goes_where_the_user_is(project, cloud, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    words = ("fetch", *WHERE, "--from=gs://bucket/x", "--dry_run")
    assert f"gs://bucket/x {folder}/runs" in tpu_vm(project, *words, "--to=runs", cwd=folder).stdout
    assert "gs://bucket/x /runs" in tpu_vm(project, *words, "--to=/runs", cwd=folder).stdout


def test_an_older_bash_reads_only_that_it_is_too_old(project, tmp_path):
    """As in bash 3.2: another version, and syntax after the check that it cannot read."""
    head, check, _ = (ROOT / "launch" / "tpu_vm.sh").read_text().partition("\nfi\n")
    assert head.count("BASH_VERSINFO") == 2 and "$BASH_VERSION" in head
    script = tmp_path / "old.sh"
    for version, status in (("3 2", 2), ("4 3", 2), ("4 4", 0), ("5 0", 0)):
        old = f"OLD=({version})\n{head}{check}exit\ncase x in x) ;;& ;; esac"
        old = old.replace("BASH_VERSINFO", "OLD").replace("$BASH_VERSION", version)
        script.write_text(old)
        done = subprocess.run(["bash", script], capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        told = f"error: this is bash {version}, and launch/tpu_vm.sh needs 4.4 or newer: "
        assert done.stderr == (f"{told}brew install bash\n" if status else "")


def test_without_gcloud_it_says_where_to_get_it(project, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = tpu_vm(project, *RUN, "--", "true", PATH=str(tools))
    assert done.returncode == 2 and "gcloud is not installed: see https://" in done.stdout


def test_help_names_every_command_and_option(project):
    shown = tpu_vm(project, "--help")
    assert shown.returncode == 0 and shown.stdout == tpu_vm(project, "run", "--help").stdout
    script = (ROOT / "launch" / "tpu_vm.sh").read_text()
    for option in set(re.findall(r"^    (--[a-z_]+)\)", script, flags=re.MULTILINE)):
        assert option in shown.stdout, option
    assert "set -euo" not in shown.stdout and "bash launch/tpu_vm.sh run" in shown.stdout


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(dry_runs(make_project(Path(folder) / "project")))
