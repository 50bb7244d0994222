"""A `gcloud` for tests of launch/tpu_vm.sh: slices are files, a host is a folder here.

It knows the calls that the script makes and no other. The folder $FAKE_CLOUD holds

    calls     one line for each call
    NAME      the state of a slice, and more lines on why; absent where there is none
    home      the home folder of its one host, made with the slice and gone with it
    before-X  shell lines, one for each of the next calls of X: "describe", "scp", ..., or what
              tpu_host.sh is asked for. Each is run before its call, to change states; where it
              fails, the call fails as it did
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

CLOUD = pathlib.Path(os.environ["FAKE_CLOUD"])
HOME = CLOUD / "home"


def main():
    with (CLOUD / "calls").open("a") as calls:
        calls.write(shlex.join(sys.argv[1:]) + "\n")
    compute, tpus, kind, action = sys.argv[1:5]
    assert (compute, tpus) == ("compute", "tpus") and kind in ("tpu-vm", "queued-resources")
    name, _, target = sys.argv[6 if action == "scp" else 5].partition(":")
    state = CLOUD / f"{kind}-{name}"
    asked = re.search(r"bash \S+\.sh (\w+)", sys.argv[-1])
    script = CLOUD / f"before-{asked[1] if asked else action}"
    if script.exists():
        first, _, rest = script.read_text().partition("\n")
        script.write_text(rest)
        if code := subprocess.run(["bash", "-c", first], cwd=CLOUD).returncode:
            sys.exit(code)
    if action == "describe":
        if not state.exists():
            sys.exit("ERROR: NOT_FOUND: Resource was not found")
        text = state.read_text().strip()
        print(text if "yaml(state)" in sys.argv else text.partition("\n")[0])
    elif action == "create":
        if state.exists():
            sys.exit("ERROR: ALREADY_EXISTS: Resource exists")
        state.write_text("READY" if kind == "tpu-vm" else "WAITING_FOR_RESOURCES")
        HOME.mkdir(exist_ok=True)
    elif action == "delete":
        state.unlink()
        shutil.rmtree(HOME, ignore_errors=True)
    elif not state.exists() or state.read_text().strip() != "READY":
        sys.exit(255)
    elif action == "scp":
        shutil.copy(sys.argv[5], HOME / target)
    elif action == "ssh":
        command = ["bash", "-c", sys.argv[sys.argv.index("--command") + 1]]
        environment = {**os.environ, "HOME": str(HOME)}
        sys.exit(subprocess.run(command, cwd=HOME, env=environment).returncode)
    else:
        sys.exit(f"no such action: {action}")


main()
