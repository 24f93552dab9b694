"""The server ends at its start, with the remedy, where the emulator or the state is another one's."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

OVERLAY = Path(__file__).parents[1] / "overlay"


class Start(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.state = self.folder / "state"
        self.state.mkdir()
        shutil.copytree(OVERLAY, self.folder / "overlay")
        key = {"access_key_id": "AKIATESTTESTTESTTEST", "secret_access_key": "secret"}
        (self.folder / "key.json").write_text(json.dumps(key))

    def start(self):
        """How the import of what the server runs ends, and what it says."""
        environment = os.environ | {
            "PYTHONPATH": str(self.folder), "STATE_DIR": str(self.state), "PYTHONDONTWRITEBYTECODE": "1",
            "ACCESS_KEY_FILE": str(self.folder / "key.json"),
        }
        command = [sys.executable, "-c", "import overlay.app"]
        ended = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True)
        return ended.returncode, ended.stderr

    def change_pin(self, change):
        file = self.folder / "overlay/pins.json"
        pins = json.loads(file.read_text())
        change(pins)
        file.write_text(json.dumps(pins))

    def test_twice_with_its_own_state(self):
        for _ in range(2):
            self.assertEqual(self.start(), (0, ""))

    def test_a_function_that_is_another_one(self):
        name = "ministack.services.ecs._run_task"
        self.change_pin(lambda pins: pins.update({name: "0" * 16}))
        status, said = self.start()
        self.assertEqual(status, 1)
        self.assertIn(f"these functions differ: {name}. Remedy: install the version of requirements", said)

    def test_a_function_that_is_not_there(self):
        self.change_pin(lambda pins: pins.update({"ministack.services.ecs._gone": "0" * 16}))
        self.assertIn("these functions differ: ministack.services.ecs._gone. Remedy", self.start()[1])

    def test_a_state_of_an_older_overlay(self):
        (self.state / "ecs.json").write_text("{}")
        for format in (None, {"format": 0}):
            if format:
                (self.state / "overlay.json").write_text(json.dumps(format))
            status, said = self.start()
            self.assertEqual(status, 1)
            self.assertIn("another version of the local AWS. Remedy: cargo xtask local reset", said)

    def test_no_key(self):
        (self.folder / "key.json").write_text("{}")
        self.assertEqual(self.start(), (1, "ACCESS_KEY_FILE must name the file of the access key\n"))
