"""scripts/quickstart and scripts/progress, with fakes of cargo, rustc, cc, df and pulse in a copy of the checkout.

    python3 scripts/verify/test_quickstart.py      # needs nothing but Python and bash
"""

import os
import platform
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = """
    bash cat chmod cp cut dirname env getconf grep head ls mkdir mv od rm sed sleep sort tail tr uname unzip
""".split()
PULSE = '#!/usr/bin/env bash\necho "${0##*/} $*" >>"$CALLS"\n'
CARGO = (
    '#!/usr/bin/env bash\necho "cargo $*" >>"$CALLS"\n'
    'mkdir -p "$CARGO_TARGET_DIR/debug"; cp "$PULSE_FAKE" "$CARGO_TARGET_DIR/debug/pulse"\n'
    '. "$CARGO_SAYS"\n'
)
MACHINE, OTHER = ("aarch64", b"\x3e\0") if platform.machine() == "aarch64" else (platform.machine(), b"\xb7\0")


class Quickstart(unittest.TestCase):
    def setUp(self):
        # A space in every path.
        self.scratch = Path(tempfile.mkdtemp(prefix="quick start "))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.root, self.bin, self.target = (self.scratch / name for name in ("checkout", "bin", "target"))
        (self.root / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("Cargo.toml", "scripts/quickstart", "scripts/env", "scripts/progress"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.calls, self.says = self.scratch / "calls", self.scratch / "says"
        self.calls.touch()
        self.says.touch()
        self.fake(self.scratch / "pulse", PULSE)
        self.fake(self.bin / "cargo", CARGO)
        self.fake(self.bin / "rustc", "#!/usr/bin/env bash\necho 'rustc 1.99.0 (abc 2030-01-01)'\n")
        self.fake(self.bin / "cc", "#!/usr/bin/env bash\ncat >/dev/null\n")
        self.free(100)
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(self.scratch),
            "CARGO_TARGET_DIR": str(self.target),
            "CALLS": str(self.calls),
            "CARGO_SAYS": str(self.says),
            "PULSE_FAKE": str(self.scratch / "pulse"),
        }

    def fake(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o755)
        return path

    def free(self, gib):
        self.fake(self.bin / "df", f"#!/usr/bin/env bash\necho Avail; echo {gib * 1024}M\n")

    def wheel(self, name, inside="pulse-0.1.0.data/scripts/pulse", text=PULSE):
        (self.root / name).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(self.root / name, "w") as file:
            file.writestr(inside, text)

    def start(self, *arguments, code=0, cwd=None, **environment):
        command = [self.root / "scripts/quickstart", *arguments]
        environment = self.environment | environment
        run = subprocess.run(command, cwd=cwd or self.root, env=environment, capture_output=True, text=True)
        self.assertEqual(run.returncode, code, run.stderr)
        return run.stderr

    def called(self):
        return self.calls.read_text().splitlines()

    def test_usage(self):
        command = [self.root / "scripts/quickstart", "--help"]
        usage = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout
        self.assertIn("usage: scripts/quickstart [--binary FILE | --wheel FILE] [LAKE]", usage)
        self.assertIn("unknown option --wheels", self.start("--wheels", code=2))
        self.assertIn("--binary needs a file", self.start("--binary", code=2))
        self.assertIn("nothing-here is no file", self.start("--binary", "nothing-here", code=2))
        self.assertIn("give one LAKE", self.start("one", "two", code=2))
        self.assertEqual(self.called(), [])

    def test_binary_that_lies_here(self):
        self.fake(self.root / "pulse", PULSE)
        self.wheel("dist/pulse-0.1.0-py3-none-any.whl")
        old = self.fake(self.root / "lake/quickstart/old", "")
        self.assertIn("using ./pulse, which lies here; nothing is compiled", self.start())
        self.assertFalse(old.exists())
        self.assertEqual(self.called()[1], "pulse --lake lake/quickstart --var raw=sample run --all")
        self.assertNotIn("cargo", self.calls.read_text())

    def test_wheel_that_lies_here(self):
        self.wheel("pulse-0.2.0-py3-none-any.whl")
        self.wheel("dist/pulse-0.1.0-py3-none-any.whl")
        self.wheel(f"dist/pulse-0.1.0-py3-none-manylinux_2_34_{MACHINE}.whl")
        using = f"using the pulse inside dist/pulse-0.1.0-py3-none-manylinux_2_34_{MACHINE}.whl, which lies here"
        self.assertIn(using, self.start())
        shutil.rmtree(self.root / "dist")
        (self.bin / "unzip").unlink()
        (self.bin / "python3").symlink_to(sys.executable)
        self.assertIn("using the pulse inside pulse-0.2.0-py3-none-any.whl", self.start())
        self.assertEqual(self.calls.read_text().count("pulse --"), 6)  # --version, run, query: twice

    def test_wheel_of_something_else(self):
        self.wheel("other.whl", inside="other-1.data/scripts/other")
        self.assertIn("is no wheel of pulse", self.start("--wheel", "other.whl", code=2))
        (self.bin / "unzip").unlink()
        self.assertIn("install unzip", self.start("--wheel", "other.whl", code=2))

    def test_a_given_lake_is_kept_and_the_shown_command_works_elsewhere(self):
        elsewhere = self.scratch / "else where"
        self.fake(elsewhere / "my pulse", PULSE)
        old = self.fake(self.root / "the lake/old", "")
        for file, *given in (["my pulse", "the lake"], ["my pulse"], [str(elsewhere / "my pulse"), "s3://b/l"]):
            shown = self.start("--binary", file, *given, cwd=elsewhere).splitlines()[-3:]
            command = shown[0].split("set apart: ")[1]
            subprocess.run(["bash", "-c", command], cwd=elsewhere, env=self.environment, check=True)
            lake = next(iter(given), "lake/quickstart")
            lake = lake if "://" in lake else f"{self.root}/{lake}"
            query = "query select _reason, count(*) from silver.bars_1m__quarantine group by _reason"
            self.assertEqual(self.called()[-1], f"my pulse --lake {lake} {query}")
            self.assertEqual([line.split(": docs/guide/")[1] for line in shown[1:]], ["first-job.md", "cluster.md"])
        self.assertTrue(old.exists())

    def test_files_that_cannot_run_here(self):
        self.fake(self.root / "pulse", b"\x7fELF\2\1\1" + bytes(9) + b"\2\0" + OTHER + bytes(44))
        said = self.start(code=2)
        self.assertRegex(said, f"pulse cannot run here: it is built for .*64, and this machine is {MACHINE}\\. ")
        self.assertIn("or move it away, and scripts/quickstart compiles one", said)
        loader = "pulse: libc.so.6: version 'GLIBC_2.38' not found\npulse: libc.so.6: version 'GLIBC_2.99' not found"
        self.fake(self.scratch / "new", f'#!/usr/bin/env bash\necho "{loader}" >&2; exit 1\n')
        said = self.start("--binary", str(self.scratch / "new"), code=2)
        self.assertRegex(said, r"cannot run here: it needs glibc 2\.99, and this system has .*, or leave --binary out")
        self.assertEqual(self.called(), [])

    def test_all_that_is_missing_is_said_at_once(self):
        for tool in ("cargo", "rustc", "cc"):
            (self.bin / tool).unlink()
        self.free(3)
        said = self.start(code=2)
        needed = re.search(r'rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
        self.assertIn(f"Rust is missing: install {needed} or newer from https://rustup.rs", said)
        self.assertIn("apt install gcc libc6-dev, or dnf install gcc", said)
        self.assertIn("3 GiB are free", said)
        self.assertEqual(len(said.splitlines()), 4)
        self.fake(self.scratch / ".cargo/bin/cargo", "")
        self.assertIn("not on the PATH: run . ~/.cargo/env", self.start(code=2))

    def test_old_rust_and_headers_that_are_missing(self):
        self.fake(self.bin / "rustc", "#!/usr/bin/env bash\necho 'rustc 1.9.0 (abc 2016-01-01)'\n")
        self.fake(self.bin / "cc", "#!/usr/bin/env bash\nexit 1\n")
        said = self.start(code=2)
        self.assertIn("Rust is 1.9.0, and", said)
        self.assertIn("the C library's headers", said)

    def test_without_sources(self):
        (self.root / "Cargo.toml").unlink()
        self.assertIn("unpack a release", self.start(code=2))

    def test_compiles_without_aws(self):
        said = self.start("lake")
        self.assertIn("compiling pulse, as neither ./pulse nor a wheel lies here", said)
        self.assertEqual(self.called()[0], "cargo build --locked -p pulse-cli --no-default-features")
        self.assertIn(str(self.target / "debug/pulse").replace(" ", "\\ "), said)
        self.free(1)  # a second build needs little
        self.start("lake")

    def test_the_full_build_where_tests_ask_for_it(self):
        self.fake(self.root / "pulse", "#!/usr/bin/env bash\nexit 1\n")
        self.start("lake", PULSE_BUILD_TARGETS="--all-targets")
        self.assertEqual(self.called()[0], "cargo build --locked --workspace --all-targets")

    def test_an_error_of_the_compiler_ends_it(self):
        error = "error[E0308]: no\n  |\n\nerror: could not compile"
        self.says.write_text(f"printf '    Building [=> ] 1/9: a\\r{error}' >&2; exit 101")
        self.assertIn(f"\n{error}\n", self.start(code=101))
        self.assertEqual(len(self.called()), 1)

    def test_interrupt_ends_cargo(self):
        self.says.write_text('echo $$ >"$CALLS"; exec sleep 60')
        process, terminal = pty.fork()
        if process == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
            os.execve(self.root / "scripts/quickstart", ["quickstart"], self.environment)
        while not self.calls.read_text().strip().isdigit():
            time.sleep(0.05)
        time.sleep(0.2)
        os.write(terminal, b"\x03")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 0xFF, (128 + signal.SIGINT) & 0xFF)
        self.assertFalse(Path(f"/proc/{self.calls.read_text().strip()}").exists())


class Progress(unittest.TestCase):
    def follow(self, cargo, *arguments, stderr=subprocess.PIPE):
        command = ["bash", "-c", f'{{ {cargo}; }} | "$@"', "bash", ROOT / "scripts/progress", *arguments]
        return (subprocess.run(command, stderr=stderr, check=True).stderr or b"").decode()

    def test_lines_beside_a_terminal(self):
        bar = "printf '   Compiling x v1\\n    Building [=> ] %s/40: a, b\\xe2\\x80\\xa6   \\r' $n"
        bars = f"for n in 0 10 20 30; do {bar}; sleep 1.1; done"
        lines = self.follow(bars, "1").splitlines()
        self.assertEqual(lines[0], "compiling: 0 of 40 steps")
        self.assertEqual(lines[-1], "compiling: 30 of 40 steps, about 1 min left")
        self.assertEqual(self.follow(bars), "")
        self.assertEqual(self.follow("printf '    Building [>] 050/40: a\\r'", "0"), "compiling: 050 of 40 steps\n" * 2)

    def test_one_line_on_a_terminal(self):
        reader, terminal = pty.openpty()
        bars = " Downloading 7 crates \\r    Building [=> ] 1/40: a \\rwarning: w\\n    Building [=> ] 2/40: a \\r"
        self.follow(f"printf '{bars}'", stderr=terminal)
        lines = ["downloading: 7 to go", "compiling: 1 of 40 steps", "warning: w\r\n", "compiling: 2 of 40 steps"]
        self.assertEqual(os.read(reader, 9999).decode().split("\r\x1b[K"), ["", *lines, ""])
        os.close(reader)
        os.close(terminal)

    def test_what_it_does_not_know_passes(self):
        unknown = self.follow("printf 'Baking 3 of 4\\rof C\\r\\nerror: no end'", "0")
        self.assertEqual(unknown, "Baking 3 of 4\rof C\r\nerror: no end\n")
        locked = "    Blocking waiting for file lock on build directory\n"
        self.assertEqual(self.follow(f"printf '{locked}    Finished dev\\n'"), locked)


if __name__ == "__main__":
    unittest.main()
